"""What `toombos monitoring` up, down, restart and status tell."""

from typing import TYPE_CHECKING

from toombos_cli.render.formats import Output
from toombos_cli.render.problems import print_problems

if TYPE_CHECKING:
    from toombos_cli.monitoring.reports import MonitoringReport

_STYLES = {"up": "green", "down": "red", "missing": "yellow"}


def show(report: "MonitoringReport", output: Output) -> None:
    """How it is run, one line a service, then what is missing and how to get it."""
    from rich.table import Table
    from rich.text import Text

    console = output.stdout
    if not report.services:
        console.print("monitoring: the manifest describes none")
        output.stderr.print('hint: begin toombos.toml with: extends = "monitoring"', style="cyan", soft_wrap=True)
        return
    console.print(f"monitoring: {report.backend}" + (f" ({report.reason})" if report.reason else ""))
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("NAME", "STATE", "PID", "URL"):
        grid.add_column(name, no_wrap=True)
    grid.add_column("DETAIL", overflow="fold")  # what does not fit goes on in the next line; nothing else shrinks
    for row in report.services:
        style = _STYLES[row.state] if report.wanted else ""
        grid.add_row(row.name, Text(row.state, style=style), str(row.pid or "-"), row.url, row.detail)
    console.print(grid)
    if report.changed_files:
        console.print(f"configuration written: {len(report.changed_files)} files")
    if report.password_file and report.wanted:
        console.print(f"Grafana: user admin, password in {report.password_file}")
    print_problems(report.problems, output.stderr)
    if report.wanted:
        told = bool(report.problems)  # they have their own hints, and what is down is down because of them
        hints = (row.hint for row in report.services if row.hint and not (told and row.state == "down"))
        for hint in dict.fromkeys(hints):
            output.stderr.print(f"hint: {hint}", style="cyan", soft_wrap=True)
