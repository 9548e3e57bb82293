"""Text for people: one view a kind of report, looked up in VIEWS and imported when it is needed."""

from importlib import import_module

from toombos_cli.base.results import Report, Verdict
from toombos_cli.render.formats import Output

VIEWS: dict[str, str] = {
    "smoke": "toombos_cli.render.text.smoke",
    "alert_sent": "toombos_cli.render.text.alert_sent",
    "alert_status": "toombos_cli.render.text.alert_status",
    "alert_test": "toombos_cli.render.text.alert_test",
    "config_change": "toombos_cli.render.text.config_change",
    "config_example": "toombos_cli.render.text.config_example",
    "config_show": "toombos_cli.render.text.config_show",
    "diagnose": "toombos_cli.render.text.diagnose",
    "incident": "toombos_cli.render.text.incident",
    "issue": "toombos_cli.render.text.issue",
    "profile": "toombos_cli.render.text.profile",
    "findings": "toombos_cli.render.text.findings",
    "backup_copy": "toombos_cli.render.text.archives",
    "backup_create": "toombos_cli.render.text.archives",
    "backup_drill": "toombos_cli.render.text.archives",
    "backup_list": "toombos_cli.render.text.archives",
    "backup_prune": "toombos_cli.render.text.archives",
    "backup_status": "toombos_cli.render.text.archives",
    "backup_verify": "toombos_cli.render.text.archives",
    "restore": "toombos_cli.render.text.restore",
    "restore_recover": "toombos_cli.render.text.restore",
    "change": "toombos_cli.render.text.change",
    "logs": "toombos_cli.render.text.logs",
    "health": "toombos_cli.render.text.health",
    "load": "toombos_cli.render.text.load",
    "monitoring": "toombos_cli.render.text.monitoring",
    "monitoring_check": "toombos_cli.render.text.monitoring_check",
    "monitoring_reload": "toombos_cli.render.text.monitoring_reload",
    "recover": "toombos_cli.render.text.recover",
    "schedule": "toombos_cli.render.text.schedule",
    "schedule_print": "toombos_cli.render.text.schedule_print",
    "schedule_run": "toombos_cli.render.text.schedule_run",
    "start_preview": "toombos_cli.render.text.start_preview",
    "status": "toombos_cli.render.text.status",
}

ASKED_FOR = frozenset(
    {"alert_status", "backup_list", "config_example", "config_show", "incident", "issue", "logs"}
    | {"schedule_print", "start_preview", "status"}
)
"""The kinds that are the answer to a question: with --quiet, all others are silent when nothing is wrong."""


def show(report: Report, output: Output, exit_code: int) -> None:
    """Prints the report with its view, whose `show(report, output)` writes to `output.stdout`."""
    del exit_code  # the shell shows it
    if output.quiet and report.verdict is Verdict.PASS and report.kind not in ASKED_FOR:
        return
    import_module(VIEWS[report.kind]).show(report, output)
