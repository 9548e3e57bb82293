"""YAML with comments: one block for each part, in the order that it is given."""

import textwrap
from collections.abc import Iterable
from typing import Any

from toombos_cli.export.model import MARK, LeftOut

_WIDTH = 110


def dump(document: Any) -> str:
    """Return a value as YAML, its keys in order; a text of several lines stands as it is read."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text_of(dumper: Dumper, text: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    Dumper.add_representer(str, text_of)
    Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)
    text: str = yaml.dump(document, Dumper=Dumper, sort_keys=False, width=100_000, allow_unicode=True)
    return text


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
