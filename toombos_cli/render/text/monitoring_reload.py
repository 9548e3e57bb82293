"""What `toombos monitoring reload` did."""

from typing import TYPE_CHECKING

from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from toombos_cli.monitoring.reports import ReloadReport


def show(report: "ReloadReport", output: Output) -> None:
    """One line for the programs, one for each file that changed."""
    output.stdout.print(f"reloaded: {', '.join(report.reloaded)}")
    for path in report.changed_files:
        output.stdout.print(f"changed: {path}", soft_wrap=True)
    if not report.changed_files:
        output.stdout.print("the configuration was up to date already")
