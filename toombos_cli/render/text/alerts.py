"""Views of `toombos alert`: what was sent, what was tested, and which alerts are open."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from toombos_cli.base.fixes import here
from toombos_cli.base.results import Verdict
from toombos_cli.render.formats import Output
from toombos_cli.render.verdicts import print_verdict

if TYPE_CHECKING:
    from toombos_cli.alerts.reports import AlertSentReport, AlertStatusReport, AlertTestReport


def show_sent(report: "AlertSentReport", output: Output) -> None:
    """Print one line."""
    what = "recovery" if report.resolved else f"{report.severity} alert"
    output.stdout.print(f"{what} handed over: {report.key}", soft_wrap=True)


def show_status(report: "AlertStatusReport", output: Output) -> None:
    """Print the failing channels, one line per problem, and one for the deliveries."""
    console = output.stdout
    for failing in report.failing:
        since = _time(failing.since)
        print_verdict(console, Verdict.WARN, f"channel {failing.channel}: has taken no message since {since}")
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
    if report.failing:
        output.stderr.print(f"hint: {here('alert', 'test')}", style="cyan")
    if report.deliveries:
        console.print(
            "deliveries: " + ", ".join(f"{name}: {count}" for name, count in sorted(report.deliveries.items()))
        )


def show_test(report: "AlertTestReport", output: Output) -> None:
    """Print one line per channel, or how to add one."""
    console = output.stdout
    for outcome in report.channels:
        attempts = f"{outcome.attempts} attempt{'s' if outcome.attempts > 1 else ''}"
        reason = f": {outcome.reason}" if outcome.reason else ""
        text = f"{outcome.channel}: {attempts}, {outcome.duration_s:.1f} s{reason}"
        print_verdict(console, Verdict.PASS if outcome.delivered else Verdict.FAIL, text)
    if not report.channels:
        text = f"no channel carries {report.severity}: alerts are only written to logs/alerts.log"
        print_verdict(console, report.verdict, text)
        output.stderr.print(
            'hint: add [alerts.channels.NAME] with url = "${A_SECRET_OF_ENV}" to toombos.toml', style="cyan"
        )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
