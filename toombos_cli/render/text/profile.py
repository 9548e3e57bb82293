"""The view of a profile: which threads run, which wait, and where the flame graph is."""

from typing import TYPE_CHECKING

from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from toombos_cli.diagnose.profile import ProfileReport


def show(report: "ProfileReport", output: Output) -> None:
    """Print the stacks of running threads, a line for each waiting one (its stack with --verbose), and the file."""
    if not output.quiet:
        for thread in report.threads:
            whole = thread.active or output.verbose
            where = f" in {thread.frames[0]}" if thread.frames and not whole else ""
            output.stdout.print(f"{thread.name} {'runs' if thread.active else 'waits'}{where}", soft_wrap=True)
            for frame in thread.frames if whole else ():
                output.stdout.print(f"    {frame}", soft_wrap=True)
    output.stdout.print(f"{report.service} (pid {report.pid}) {_summary(report)}: {report.flame_graph}", soft_wrap=True)


def _summary(report: "ProfileReport") -> str:
    if report.idle:
        return f"was idle for {report.duration_s:g} s; where it waited"
    return f"for {report.duration_s:g} s"
