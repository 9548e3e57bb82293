"""YAML with comments: one block for each part, in the order that it is given."""

import textwrap
from collections.abc import Iterable
from typing import Any

from toombos_cli.export.model import MARK, LeftOut

_WIDTH = 110


def dump(document: Any) -> str:
    """Return a value as YAML, its keys in order."""
    import yaml

    text: str = yaml.safe_dump(_without_aliases(document), sort_keys=False, width=100_000, allow_unicode=True)
    return text


def _without_aliases(value: Any) -> Any:
    """Return a copy in which no part is the same object as another, which YAML would write as an alias."""
    if isinstance(value, dict):
        return {key: _without_aliases(item) for key, item in value.items()}
    return [_without_aliases(item) for item in value] if isinstance(value, list | tuple) else value


def indented(text: str, levels: int = 1) -> str:
    """Return a block of YAML inside others."""
    return textwrap.indent(text, "  " * levels)


def comment(*paragraphs: str) -> str:
    """Return comments, wrapped; a command to paste, which begins with two spaces, stays whole."""
    lines: list[str] = []
    for text in paragraphs:
        shown = "".join(c if c.isprintable() else " " for c in text)
        lines += [shown] if shown.startswith("  ") else textwrap.wrap(shown, _WIDTH, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)


def head(engine: str) -> str:
    """Return the first line of an exported file."""
    return f"# {MARK}: `toombos export {engine}` writes it again; changes are overwritten.\n"


def left_out_comment(left_out: Iterable[LeftOut], service: str) -> str:
    """Return comments about what is left out of one service."""
    prefix = f"services.{service}."
    own = [item for item in left_out if item.what.startswith(prefix)]
    return comment(*(f"Not carried over: {item.what.removeprefix(prefix)}: {item.reason}." for item in own))
