"""The text of `.env.example`, as it is."""

from typing import TYPE_CHECKING

from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from toombos_cli.config.reports import ExampleReport


def show(report: "ExampleReport", output: Output) -> None:
    """Prints the text without wrapping, ready to be redirected into the file."""
    output.stdout.print(report.text, end="", soft_wrap=True)
