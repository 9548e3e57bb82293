"""The lines of logs, as they were written."""

from typing import TYPE_CHECKING

from toombos_cli.render.formats import Output
from toombos_cli.render.line_printer import LinePrinter

if TYPE_CHECKING:
    from toombos_cli.logs.reading import LogsReport


def show(report: "LogsReport", output: Output) -> None:
    """One line a line, behind the service's name where there are several."""
    if not report.lines and not output.quiet:
        output.stderr.print("no line of a log was found", style="yellow")
    printer = LinePrinter(output, tuple(dict.fromkeys(line.service for line in report.lines)))
    for line in report.lines:
        printer.show(line.service, line.line)
