"""The command lines of toombos that README and pages print."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(r"^```(?:sh|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_IN_BLOCK = re.compile(r"^(?:\$ )?(toombos .*)$", re.MULTILINE)
_INDENTED = re.compile(r"^    (toombos .*)$", re.MULTILINE)
_SPAN = re.compile(r"`(toombos [^`\n]+)`")
_SHELL = re.compile(r" (?:&&|\|\||[|>;\\]|\.\.\.)")
_ANY_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def in_blocks(page: Path) -> list[str]:
    """Return the lines to type: the first command of each, without its comment."""
    text = page.read_text()
    found = [line for block in _BLOCK.findall(text) for line in _IN_BLOCK.findall(block)]
    return [_first(line) for line in [*found, *_INDENTED.findall(_ANY_FENCE.sub("", text))]]


def in_sentences(page: Path) -> list[str]:
    """Return the command lines in sentences and tables."""
    return [_first(span.replace("\\|", "|")) for span in _SPAN.findall(_ANY_FENCE.sub("", page.read_text()))]


def _first(line: str) -> str:
    return shlex.join(shlex.split(_SHELL.split(line.partition(" #")[0])[0]))
