"""Tables for the terminal. If one does not fit, no digit and no identifier is ever cut.

A table that is wider than the terminal loses its optional columns one after the other, in the order of their rank.
If it is still too wide, each row becomes a block of lines, `NAME  value`, that the terminal may wrap. Outside a
terminal the width is unlimited, so each row is one line below the head. No line ends in spaces.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from toombos_cli.base.text import folded

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

GAP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. `drop` is the order in which it is dropped, 1 first, 0 never. `fold`: free text that may wrap
    between words.

    `lead`: it stands before the row's name, the first column that does not, also at the head of a block.
    """

    name: str
    right: bool = False
    drop: int = 0
    fold: bool = False
    lead: bool = False


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
        console.print(_Trimmed(_table(columns, cells, kept, _held(console, columns, cells, kept))))
    else:
        _print_blocks(console, columns, cells, kept)
    return tuple(dropped)


def room_beside(console: "Console", columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> int:
    """Return the width that is left for one more column beside these."""
    cells = [[cell if isinstance(cell, Text) else Text(folded(cell)) for cell in row] for row in rows]
    return console.width - GAP - _least_width(columns, cells, list(range(len(columns))))


class _Trimmed:
    """A table without the spaces that rich puts behind the last cell of each line, for which it is given more room."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        for line in console.render_lines(self.table, options.update(max_width=options.max_width + GAP), pad=False):
            while line and not line[-1].text.rstrip(" "):
                line.pop()
            if line:
                yield from line[:-1]
                yield Segment(line[-1].text.rstrip(" "), line[-1].style)
            yield Segment.line()


def _least_width(columns: Sequence[Column], cells: list[list[Text]], kept: list[int]) -> int:
    """Return the width of the table in terminal columns when its free text is folded as far as possible."""
    return sum(_width(columns[i], [row[i] for row in cells]) for i in kept) + GAP * (len(kept) - 1)


def _width(column: Column, cells: list[Text]) -> int:
    widest = max((cell.cell_len for cell in cells), default=0)
    if column.fold:  # between words: a name or a path that is cut cannot be pasted
        longest_word = max((cell_len(word) for cell in cells for word in cell.plain.split()), default=0)
        widest = max(longest_word, min(widest, _NARROWEST_FOLD))
    return max(len(column.name), widest)


def _held(console: "Console", columns: Sequence[Column], cells: list[list[Text]], kept: list[int]) -> dict[str, int]:
    """Return the least widths of columns in a view that repeats, whose columns only grow as long as all fits."""
    held: dict[str, int] | None = getattr(console, "held_widths", None)
    if held is None:
        return {}
    for i in kept:
        held[columns[i].name] = max(held.get(columns[i].name, 0), _width(columns[i], [row[i] for row in cells]))
    total = sum(held[columns[i].name] for i in kept) + GAP * (len(kept) - 1)
    return held if total <= console.width else {}


def _table(columns: Sequence[Column], cells: list[list[Text]], kept: list[int], held: dict[str, int]) -> Table:
    table = Table(box=None, padding=(0, GAP, 0, 0))
    for i in kept:
        column = columns[i]
        least = max(held.get(column.name, 0), _width(column, [row[i] for row in cells]))
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
    """Print each row as a block of lines, headed by its name."""
    named = next((place for place, i in enumerate(kept) if not columns[i].lead), 0) + 1
    label = max((len(columns[i].name) for i in kept[named:]), default=0)
    for row in cells:
        console.print(Text("  ").join(row[i] for i in kept[:named]), soft_wrap=True)
        for i in kept[named:]:
            if row[i].plain:
                console.print(Text.assemble(f"  {columns[i].name:{label}}  ", row[i]), soft_wrap=True)
