"""Tables for the terminal. If one does not fit, no digit and no identifier is ever cut.

A table that is wider than the terminal loses its optional columns one after the other, in the order of their rank.
If it is still too wide, each row becomes a block of lines, `NAME  value`, that the terminal may wrap.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from toombos_cli.base.text import folded

if TYPE_CHECKING:
    from rich.console import Console

GAP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. `drop` is the order in which it is dropped, 1 first, 0 never. `fold`: free text that may wrap."""

    name: str
    right: bool = False
    drop: int = 0
    fold: bool = False


Cell = str | Text

_NARROWEST_FOLD = 12
"""The least width of a free-text column."""


def print_table(console: "Console", columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> tuple[str, ...]:
    """Print the table so that it fits the console; return the names of the columns that were dropped."""
    cells = [[cell if isinstance(cell, Text) else Text(folded(cell)) for cell in row] for row in rows]
    kept = list(range(len(columns)))
    dropped: list[str] = []
    for index in sorted((i for i in kept if columns[i].drop), key=lambda i: columns[i].drop):
        if _least_width(columns, cells, kept) <= console.width:
            break
        kept.remove(index)
        dropped.append(columns[index].name)
    if _least_width(columns, cells, kept) <= console.width:
        console.print(_table(columns, cells, kept))
    else:
        _print_blocks(console, columns, cells, kept)
    return tuple(dropped)


def _least_width(columns: Sequence[Column], cells: list[list[Text]], kept: list[int]) -> int:
    """Return the width of the table in terminal columns when its free text is folded as far as possible."""
    return sum(_width(columns[i], [row[i] for row in cells]) for i in kept) + GAP * (len(kept) - 1)


def _width(column: Column, cells: list[Text]) -> int:
    widest = max((cell.cell_len for cell in cells), default=0)
    return max(len(column.name), min(widest, _NARROWEST_FOLD) if column.fold else widest)


def _table(columns: Sequence[Column], cells: list[list[Text]], kept: list[int]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for i in kept:
        column = columns[i]
        least = _width(column, [row[i] for row in cells])
        table.add_column(
            column.name,
            justify="right" if column.right else "left",
            no_wrap=not column.fold,
            overflow="fold",
            min_width=least,
        )
    for row in cells:
        table.add_row(*(row[i] for i in kept))
    return table


def _print_blocks(console: "Console", columns: Sequence[Column], cells: list[list[Text]], kept: list[int]) -> None:
    """Print each row as a block of lines, headed by the first column."""
    label = max(len(columns[i].name) for i in kept[1:])
    for row in cells:
        console.print(row[kept[0]], soft_wrap=True)
        for i in kept[1:]:
            if row[i].plain:
                console.print(Text.assemble(f"  {columns[i].name:{label}}  ", row[i]), soft_wrap=True)
