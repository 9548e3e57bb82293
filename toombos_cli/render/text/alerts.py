"""Views of `toombos alert`: what was sent, what was tested, and which alerts are open."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from toombos_cli.base.fixes import here
from toombos_cli.base.results import Verdict
from toombos_cli.render.formats import Output
from toombos_cli.render.table import Column, print_table
from toombos_cli.render.verdicts import VERDICT, print_verdict, word

if TYPE_CHECKING:
    from toombos_cli.alerts.reports import AlertSentReport, AlertStatusReport, AlertTestReport, OpenIncident


def show_sent(report: "AlertSentReport", output: Output) -> None:
    """Print one line."""
    what = "recovery" if report.resolved else f"{report.severity} alert"
    output.stdout.print(f"{what} handed over: {report.key}", soft_wrap=True)


def show_status(report: "AlertStatusReport", output: Output) -> None:
    """Print the failing channels, a table of the open alerts, and one line for the deliveries."""
    console = output.stdout
    for failing in report.failing:
        since = _time(failing.since)
        print_verdict(console, Verdict.WARN, f"channel {failing.channel}: has taken no message since {since}")
    if report.incidents:
        print_table(console, _OPEN, map(_open, report.incidents))
    else:
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


_OPEN = (
    Column(name="SEVERITY", lead=True),
    Column(name="ALERT", fold=True),
    Column(name="SINCE", drop=3),
    Column(name="TIMES", right=True, drop=1),
    Column(name="MESSAGE", drop=2),
)


def _open(incident: "OpenIncident") -> tuple[str, ...]:
    message = "no channel took it" if incident.untaken_at else "sent" if incident.told_at else "held back"
    return incident.severity, incident.title, _time(incident.first_at), str(incident.count), message


_TESTED = (
    VERDICT,
    Column(name="CHANNEL"),
    Column(name="ATTEMPTS", right=True, drop=2),
    Column(name="TIME", right=True, drop=1),
    Column(name="REASON", fold=True),
)


def show_test(report: "AlertTestReport", output: Output) -> None:
    """Print a table of the channels, or how to add one."""
    console = output.stdout
    rows = [
        (
            word(Verdict.PASS if outcome.delivered else Verdict.FAIL),
            outcome.channel,
            str(outcome.attempts),
            f"{outcome.duration_s:.1f} s",
            outcome.reason or "-",
        )
        for outcome in report.channels
    ]
    if rows:
        print_table(console, _TESTED, rows)
    else:
        text = f"no channel carries {report.severity}: alerts are only written to logs/alerts.log"
        print_verdict(console, report.verdict, text)
        output.stderr.print(
            'hint: add [alerts.channels.NAME] with url = "${A_SECRET_OF_ENV}" to toombos.toml', style="cyan"
        )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
