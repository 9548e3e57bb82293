"""The view of `toombos logs`: the lines as written."""

from typing import TYPE_CHECKING

from toombos_cli.render.formats import Output
from toombos_cli.render.line_printer import LinePrinter

if TYPE_CHECKING:
    from toombos_cli.logs.reading import LogsReport


def show(report: "LogsReport", output: Output) -> None:
    """Print each line, after the service's name if there are several services."""
    if not report.lines and not output.quiet:
        output.stderr.print("no log line was found", style="yellow")
    printer = LinePrinter(output, tuple(dict.fromkeys(line.service for line in report.lines)))
    for line in report.lines:
        printer.show(line.service, line.line)
