"""The view of a text of the help or the documentation."""

from typing import TYPE_CHECKING

from toombos_cli.render.console import write_document
from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from toombos_cli.base.pages import PageReport


def show(report: "PageReport", output: Output) -> None:
    """Print the text as it is, so that a pager and grep can read it."""
    write_document(output.stdout, report.text.rstrip("\n") + "\n")
