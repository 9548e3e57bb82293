"""The view of `run`: one line on stderr, because stdout is the task's own."""

from typing import TYPE_CHECKING

from toombos_cli.base.text import duration
from toombos_cli.render.formats import Output
from toombos_cli.render.problems import print_problems

if TYPE_CHECKING:
    from toombos_cli.supervisor.foreground_task import TaskRunReport


def show(report: "TaskRunReport", output: Output) -> None:
    """Print how the task ended; with --quiet only a failure."""
    if report.succeeded and not output.quiet:
        took = f"{report.took_s:.1f} s" if report.took_s < 60 else duration(report.took_s)
        output.stderr.print(f"{report.task}: done in {took}", style="green", soft_wrap=True)
    print_problems(report.problems, output.stderr)
    for note in report.notes:
        output.stderr.print(f"note: {note}", style="yellow", soft_wrap=True)
