"""The problems that have not ended, and how deliveries fared."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from toombos_cli.alerts.reports import AlertStatusReport


def show(report: "AlertStatusReport", output: Output) -> None:
    """One line a problem, one for the deliveries."""
    console = output.stdout
    for incident in report.incidents:
        told = " (no channel took it)" if incident.untaken_at else "" if incident.told_at else " (held back)"
        since = _time(incident.first_at)
        console.print(f"{incident.severity}  since {since}  {incident.count}x  {incident.title}{told}", soft_wrap=True)
    if not report.incidents:
        console.print("no open alerts")
    if report.withheld:
        console.print(f"{report.withheld} held back by the limit; a summary follows")
    if report.waiting:
        console.print(f"{report.waiting} messages are being delivered")
    for failing in report.failing:
        console.print(
            f"FAIL  channel {failing.channel}: takes no messages since {_time(failing.since)}", soft_wrap=True
        )
    if report.failing:
        output.stderr.print("hint: toombos alert test", style="cyan")
    if report.deliveries:
        console.print(
            "deliveries: " + ", ".join(f"{name}: {count}" for name, count in sorted(report.deliveries.items()))
        )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
