"""The word and the colour of each verdict, the same in every view."""

from typing import TYPE_CHECKING

from rich.text import Text

from toombos_cli.base.results import Verdict
from toombos_cli.base.text import folded
from toombos_cli.render.table import Column

if TYPE_CHECKING:
    from rich.console import Console

WORDS = {verdict: verdict.value.upper() for verdict in Verdict}
WORD_WIDTH = max(map(len, WORDS.values()))
STYLES = {
    Verdict.PASS: "green",
    Verdict.WARN: "yellow",
    Verdict.FAIL: "bold red",
    Verdict.ERROR: "bold red",
    Verdict.SKIP: "dim",
}

VERDICT = Column(name="VERDICT", lead=True)
"""The first column of a table of verdicts; its cells are `word`s."""


def word(verdict: Verdict) -> Text:
    """Return the verdict's word in its colour, as wide as the longest."""
    return Text(f"{WORDS[verdict]:{WORD_WIDTH}}", style=STYLES[verdict])


def print_verdict(console: "Console", verdict: Verdict, text: str) -> None:
    """Print the verdict's word and a sentence behind it, on one line that the terminal may wrap."""
    console.print(Text.assemble(word(verdict), f" {folded(text)}"), soft_wrap=True)
