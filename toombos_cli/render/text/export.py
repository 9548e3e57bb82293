"""The view of `toombos export`: the files, what they leave out, and what to type next."""

from typing import TYPE_CHECKING

from toombos_cli.render.console import write_document
from toombos_cli.render.formats import Output
from toombos_cli.render.table import Column, print_table
from toombos_cli.render.verdicts import WORDS

if TYPE_CHECKING:
    from toombos_cli.export.reports import ExportReport


def show(report: "ExportReport", output: Output) -> None:
    """Print one table each of the files, the tools' verdicts and what is left out, then the next commands."""
    console = output.stdout
    where = f" in {report.output}" if report.output else ""
    console.print(f"export: {len(report.files)} files for {report.engine}{where}", soft_wrap=True)
    print_table(console, (Column(name="FILE"), Column(name="STATE")), [(row.path, row.state) for row in report.files])
    for difference in report.differences.values():
        write_document(console, difference)
    if report.checks:
        rows = [(check.tool, WORDS[check.verdict], check.detail or "-") for check in report.checks]
        print_table(console, (Column(name="TOOL"), Column(name="VERDICT"), Column(name="DETAIL", fold=True)), rows)
    if report.left_out:
        console.print("not carried over:")
        items = [(item.what, item.reason) for item in report.left_out]
        print_table(console, (Column(name="WHAT"), Column(name="WHY", fold=True)), items)
    if report.output and report.commands and report.exit_code() == 0:
        console.print("next:")
        for line in report.commands:
            console.print(line, soft_wrap=True)
