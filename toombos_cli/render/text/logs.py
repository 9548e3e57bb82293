"""The view of `toombos logs`: the lines as written."""

from typing import TYPE_CHECKING

from toombos_cli.render.formats import Output
from toombos_cli.render.line_printer import LinePrinter

if TYPE_CHECKING:
    from toombos_cli.logs.reading import LogsReport


def show(report: "LogsReport", output: Output) -> None:
    """Print each line, after the service's name if several services were asked for."""
    if not report.lines and not output.quiet:
        output.stderr.print("no log line was found", style="yellow")
    for note in report.notes:
        output.stderr.print(f"note: {note}", style="yellow", soft_wrap=True)
    printer = LinePrinter(output, report.services)
    for line in report.lines:
        printer.show(line.service, line.line, line.timestamp, line.event)
