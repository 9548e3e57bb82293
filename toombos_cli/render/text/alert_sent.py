"""What `toombos alert send` did."""

from typing import TYPE_CHECKING

from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from toombos_cli.alerts.reports import AlertSentReport


def show(report: "AlertSentReport", output: Output) -> None:
    """One line."""
    what = "recovery" if report.resolved else f"{report.severity} alert"
    output.stdout.print(f"{what} handed over: {report.key}", soft_wrap=True)
