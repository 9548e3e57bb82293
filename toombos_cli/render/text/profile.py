"""The view of a profile: which threads run, which wait, and where the flame graph is."""

from typing import TYPE_CHECKING

from toombos_cli.base.text import printable
from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from toombos_cli.diagnose.profile import ProfileReport


def show(report: "ProfileReport", output: Output) -> None:
    """Print the stacks of running threads, a line for each waiting one (its stack with --verbose), and the file."""
    if not output.quiet:
        for thread in report.threads:
            whole = thread.active or output.verbose
            where = f" in {thread.frames[0]}" if thread.frames and not whole else ""
            _print(output, f"{thread.name} {'runs' if thread.active else 'waits'}{where}")
            for frame in thread.frames if whole else ():
                _print(output, f"    {frame}")
    _print(output, f"{report.service} (pid {report.pid}) {_summary(report)}: {report.flame_graph}")


def _summary(report: "ProfileReport") -> str:
    if report.idle:
        return f"was idle for {report.duration_s:g} s; where it waited"
    return f"for {report.duration_s:g} s"


def _print(output: Output, text: str) -> None:
    output.stdout.print(printable(text), soft_wrap=True)
