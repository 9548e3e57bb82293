"""Whether a test message arrived, channel by channel."""

from typing import TYPE_CHECKING

from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from toombos_cli.alerts.reports import AlertTestReport


def show(report: "AlertTestReport", output: Output) -> None:
    """One line a channel, or how to get one."""
    console = output.stdout
    for outcome in report.channels:
        word, style = ("OK", "green") if outcome.delivered else ("FAIL", "red")
        attempts = f"{outcome.attempts} attempt{'s' if outcome.attempts > 1 else ''}"
        console.print(f"{word:<5} ", style=style, end="")
        console.print(
            f"{outcome.channel}: {attempts}, {outcome.duration_s:.1f} s"
            + (f": {outcome.reason}" if outcome.reason else ""),
            soft_wrap=True,
        )
    if not report.channels:
        console.print(f"no channel carries {report.severity}: alerts are only written to logs/alerts.log")
        output.stderr.print(
            'hint: add [alerts.channels.NAME] with url = "${A_SECRET_OF_ENV}" to toombos.toml', style="cyan"
        )
