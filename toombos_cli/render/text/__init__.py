"""Text for people: one view per kind of report, found in VIEWS and imported on demand."""

from importlib import import_module

from toombos_cli.base.results import Report, Verdict
from toombos_cli.render.formats import Output

VIEWS: dict[str, str] = {
    "alert_sent": "alerts:show_sent",
    "alert_status": "alerts:show_status",
    "alert_test": "alerts:show_test",
    "backup_copy": "archives:show_copy",
    "backup_create": "archives:show_create",
    "backup_drill": "archives:show_drill",
    "backup_list": "archives:show_list",
    "backup_prune": "archives:show_prune",
    "backup_status": "archives:show_status",
    "backup_verify": "archives:show_verify",
    "change": "change:show",
    "config_change": "config:show_change",
    "config_example": "config:show_example",
    "config_import": "config:show_import",
    "config_schema": "config:show_schema",
    "config_show": "config:show_values",
    "config_trust": "config:show_trust",
    "diagnose": "diagnose:show",
    "events": "events:show",
    "export": "export:show",
    "findings": "findings:show",
    "health": "health:show",
    "health_places": "health:show_places",
    "hosts": "hosts:show",
    "incident": "tickets:show_incident",
    "issue": "tickets:show_issue",
    "load": "load:show",
    "logs": "logs:show",
    "monitoring": "monitoring:show",
    "monitoring_check": "monitoring:show_check",
    "monitoring_reload": "monitoring:show_reload",
    "page": "pages:show",
    "profile": "profile:show",
    "recover": "recover:show",
    "restore": "restore:show",
    "restore_recover": "restore:show_recovery",
    "schedule": "schedule:show",
    "schedule_print": "schedule:show_files",
    "schedule_run": "schedule:show_run",
    "smoke": "smoke:show",
    "start_preview": "start_preview:show",
    "status": "status:show",
    "task_run": "task_run:show",
}
"""The view of each kind of report, as `module:function` of this package."""

_SILENT = frozenset({Verdict.PASS, Verdict.SKIP})


def show(report: Report, output: Output, exit_code: int) -> None:
    """Print the report with its view; with --quiet nothing, unless something is wrong or the output was requested."""
    del exit_code  # the shell shows it
    if output.quiet and report.verdict in _SILENT and not report.asked_for:
        return
    module, function = VIEWS[report.kind].split(":")
    getattr(import_module(f"{__name__}.{module}"), function)(report, output)
