"""A profile: the stacks, and where the flame graph is."""

from typing import TYPE_CHECKING

from toombos_cli.log_lines import printable
from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from toombos_cli.diagnose.profile import ProfileReport


def show(report: "ProfileReport", output: Output) -> None:
    """Prints the stacks, then the file."""
    if not output.quiet:
        for line in report.stack.splitlines():
            output.stdout.print(printable(line), soft_wrap=True)
    told = f"{report.service} (pid {report.pid}), {report.duration_s:g} s: {report.flame_graph}"
    output.stdout.print(told, soft_wrap=True)
