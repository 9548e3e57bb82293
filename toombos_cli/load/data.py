"""The data of a scenario: what `${counter}`, `${uuid}`, `${random.int}` and the columns of its files stand for.

[data.users]
file = "users.csv"

A request then uses `${users.name}`. Values are drawn once for each request by itself, and once for each round of a
user: all steps of the round see the same.
"""

import csv
import io
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any, Literal

import msgspec

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.base.exact_numbers import as_text
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted
from toombos_cli.manifest.tables.conditions import value_at

_MOST_BYTES = 256 * 1024 * 1024
_HINT = "write a CSV file with a header line, or one JSON object a line (.jsonl)"
BUILT_IN = ("counter", "uuid", "random.int")
"""The variables that every scenario has."""
_MOST_RANDOM = 2**31 - 1

Values = dict[str, Any]
Draw = Callable[[Values], None]
"""Puts the next values of one source into a user's values."""


class DataTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A source of values: the lines of a file, in order and from the beginning after the last, or random integers."""

    file: str | None = None
    """CSV with a header line (`.csv`), or one JSON object a line (`.jsonl`, `.ndjson`), beside the scenario."""
    between: tuple[int, int] | None = None
    """The least and the greatest of random integers: `${NAME}`."""
    order: Literal["next", "random"] = "next"
    per: Literal["round", "user"] = "round"
    """`round`: a new line for each round of a user, shared by all; `user`: each user keeps one line."""

    def __post_init__(self) -> None:
        if (self.file is None) == (self.between is None):
            raise ValueError("data needs either `file` or `between`")
        if self.between is not None and self.between[0] > self.between[1]:
            raise ValueError("between must be [least, greatest]")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """The variables of one source that the scenario uses, and their values: `rows` of a file, or random integers."""

    name: str
    variables: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...] = ()
    least: int = 0
    greatest: int = 0
    order: Literal["next", "random"] = "next"
    per: Literal["round", "user"] = "round"


def read_data(name: str, table: DataTable, used: tuple[str, ...], directory: Path) -> DataSource:
    """Return the values of the used variables of a table. Raise ConfigurationError with file and line."""
    if table.between is not None:
        return DataSource(name=name, variables=used, least=table.between[0], greatest=table.between[1], per=table.per)
    path = directory / (table.file or "")
    try:
        content = path.read_bytes() if path.stat().st_size <= _MOST_BYTES else None
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", where=str(path), hint=_HINT) from None
    if content is None:
        raise ConfigurationError(f"is longer than {_MOST_BYTES} bytes", where=str(path), hint="leave out columns")
    reader = {".csv": _csv_rows, ".jsonl": _json_rows, ".ndjson": _json_rows}.get(path.suffix.lower())
    if reader is None:
        raise ConfigurationError("its name ends with neither .csv nor .jsonl", where=str(path), hint=_HINT)
    columns = tuple(variable.removeprefix(f"{name}.") for variable in used)
    rows = tuple(reader(path, content, columns))
    if not rows:
        raise ConfigurationError("has no lines with data", where=str(path), hint=_HINT)
    return DataSource(name=name, variables=used, rows=rows, order=table.order, per=table.per)


def _csv_rows(path: Path, content: bytes, columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        head = next(reader, [])
        for column in columns:
            if column not in head:
                known = ", ".join(head)
                raise ConfigurationError(f"has no column {column!r}", where=f"{path}:1", hint=f"its columns: {known}")
        places = [head.index(column) for column in columns]
        for row in reader:
            if not row:
                continue
            if len(row) != len(head):
                where = f"{path}:{reader.line_num}"
                raise ConfigurationError(f"{len(row)} values for {len(head)} columns", where=where, hint=_HINT)
            yield tuple(row[place] for place in places)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"is not CSV in UTF-8: {error}", where=str(path), hint=_HINT) from None


def _json_rows(path: Path, content: bytes, columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = decode_untrusted(line, exact=True)
        except UntrustedError as error:
            raise ConfigurationError(f"not JSON: {error}", where=where, hint=_HINT) from None
        values = tuple(value_at(row, column) for column in columns)
        for column, value in zip(columns, values, strict=True):
            if value is msgspec.UNSET:
                raise ConfigurationError(f"has no {column!r}", where=where, hint=_HINT)
        yield values


_BREAKS = re.compile(r"[\r\n\0]")


class Draws:
    """The sources of one process: its `part` of a fleet gets counters and lines that no other part gets."""

    def __init__(self, sources: tuple[DataSource, ...], part: tuple[int, int]) -> None:
        self._random = random.Random()  # noqa: S311  (not a secret, but another one in each process and run)
        self.per_user: list[Draw] = [self._of(source, part) for source in sources if source.per == "user"]
        shared = [source for source in sources if source.per == "round"]
        self._per_round = [(frozenset({name}), self._built_in(name, part)) for name in BUILT_IN]
        self._per_round += [(frozenset(source.variables), self._of(source, part)) for source in shared]

    def of_round(self, used: frozenset[str]) -> tuple[Draw, ...]:
        """Return what draws the variables of a round that uses these: no value is drawn in vain."""
        return tuple(draw for names, draw in self._per_round if names & used)

    def _built_in(self, name: str, part: tuple[int, int]) -> Draw:
        first, step = part
        counted, bits, random_int = count(first + 1, step), self._random.getrandbits, self._random.randint

        def draw_counter(values: Values) -> None:
            values["counter"] = next(counted)

        def draw_uuid(values: Values) -> None:
            digits = f"{bits(128) & ~(0xF << 76) & ~(0x3 << 62) | 4 << 76 | 2 << 62:032x}"  # RFC 9562, 5.4
            values["uuid"] = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

        def draw_int(values: Values) -> None:
            values["random.int"] = random_int(0, _MOST_RANDOM)

        return {"counter": draw_counter, "uuid": draw_uuid, "random.int": draw_int}[name]

    def _of(self, source: DataSource, part: tuple[int, int]) -> Draw:
        if not source.rows:
            randint = self._random.randint

            def draw_int(values: Values) -> None:
                for name in source.variables:
                    values[name] = randint(source.least, source.greatest)

            return draw_int
        ready = [dict(zip(source.variables, row, strict=True)) for row in source.rows]
        rows = self._shuffled(ready) if source.order == "random" else islice(cycle(ready), part[0], None, part[1])

        def draw_row(values: Values) -> None:
            values.update(next(rows))

        return draw_row

    def _shuffled(self, rows: list[Values]) -> Iterator[Values]:
        while True:
            yield self._random.choice(rows)


def unsendable(value: Any) -> bool:
    """Report whether a value cannot stand in a header: it would end the line."""
    return _BREAKS.search(as_text(value)) is not None
