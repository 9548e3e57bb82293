"""An env file such as `.env` as python-dotenv reads it, with line numbers, including those of lines it drops."""

import os
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.base.fixes import Fix, advice, command
from toombos_cli.base.trust import read_trusted

if TYPE_CHECKING:
    import dotenv.parser

ENV_FILE = ".env"
_BYTE_ORDER_MARK = "\ufeff"
_NEWLINE = re.compile(r"\r\n|\n|\r")


class UnreadableEnvFileError(ConfigurationError):
    """An env file cannot be read as UTF-8 text, or is needed and missing; `line` is where, `fix` the repair."""

    def __init__(self, message: str, path: Path, fix: Fix, *, line: int | None = None) -> None:
        super().__init__(message, where=str(path) if line is None else f"{path}:{line}", hint=str(fix))
        self.message = message
        self.line = line
        self.fix = fix


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One piece of the file: an assignment, a comment, or (`error`) lines that the parser drops.

    `name` is None for comments and errors. `value` is not interpolated yet, and None if nothing is assigned.
    `original` is the exact text; the originals of a file, joined, are its text. `line` and `last_line` are 1-based
    and exclude blank lines around it.
    """

    name: str | None
    value: str | None = field(repr=False)
    original: str = field(repr=False)
    line: int
    last_line: int
    error: bool

    @property
    def text(self) -> str:
        """The assignment without blank lines around it."""
        return self.original.strip()

    @property
    def sets_nothing(self) -> bool:
        """Whether this should set something but does not: it is unreadable, or a name without `=`."""
        return self.error or (self.name is not None and self.value is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvFile:
    """An env file as python-dotenv reads it: interpolated values, the line of each, and every binding.

    `label` is its path as a person would write it in the project.
    """

    path: Path
    label: str = ENV_FILE
    values: Mapping[str, str] = field(repr=False)
    lines: Mapping[str, int]
    bindings: tuple[Binding, ...] = ()
    byte_order_mark: bool = False
    exists: bool = True

    @property
    def unparsed(self) -> tuple[Binding, ...]:
        """The pieces that should set something but do not."""
        return tuple(binding for binding in self.bindings if binding.sets_nothing)

    def bindings_of(self, name: str) -> tuple[Binding, ...]:
        """Return every assignment of one name, in file order; the last one wins."""
        return tuple(binding for binding in self.bindings if binding.name == name and not binding.sets_nothing)


def read_env_file(project: Path) -> EnvFile:
    """Return the project's `.env`, empty if there is none. Raises as `read_one`."""
    return read_one(project, project / ENV_FILE)


def read_one(project: Path, path: Path, *, below: Mapping[str, str] | None = None) -> EnvFile:
    """Return an env file of the project, empty if there is none. `below` are the values of the files before it.

    Raise UnreadableEnvFileError if it exists but cannot be read as UTF-8 text, NotTrustedError if another user could
    have written it.
    """
    label = label_of(project, path)
    try:
        text = read_trusted(path, project).decode("utf-8")
        return replace(parse_env_text(text, path, below=below), label=label)
    except FileNotFoundError:
        return EnvFile(path=path, label=label, values={}, lines={}, exists=False)
    except IsADirectoryError:
        message = f"{label} is a directory: every setting would silently have its default"
        raise UnreadableEnvFileError(message, path, command("rmdir", str(path))) from None
    except PermissionError:
        fix = command("chmod", "600", str(path), safe=True)
        raise UnreadableEnvFileError("not readable by this user", path, fix) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UnreadableEnvFileError("not UTF-8", path, advice("save the file as UTF-8"), line=line) from None
    except OSError as error:
        fix = advice("make it a readable text file")
        raise UnreadableEnvFileError(f"cannot be read: {error.strerror}", path, fix) from None


def label_of(project: Path, path: Path) -> str:
    """Return the path of an env file as a person would write it in the project."""
    return str(path.relative_to(project)) if path.is_relative_to(project) else str(path)


def parse_env_text(text: str, path: Path, *, below: Mapping[str, str] | None = None) -> EnvFile:
    """Parse `text` as python-dotenv does; `path` is the file name for messages and is not opened.

    A reference `${NAME}` may mean a name of the file above it, of the files before it (`below`), or the environment.
    """
    from io import StringIO

    from dotenv.parser import parse_stream

    marked = text.startswith(_BYTE_ORDER_MARK)
    text = text.removeprefix(_BYTE_ORDER_MARK)
    bindings = tuple(_located(parse_stream(StringIO(text, newline="")), text))
    # Like dotenv_values(), which would also log a warning for each dropped line and read every newline as \n.
    pairs = [(b.name, b.value and _NEWLINE.sub("\n", b.value)) for b in bindings if b.name is not None]
    values = {name: v for name, v in _resolved(pairs, below or {}).items() if v is not None}
    lines = {b.name: b.line for b in bindings if b.name in values}
    return EnvFile(path=path, values=values, lines=lines, bindings=bindings, byte_order_mark=marked)


def _resolved(pairs: list[tuple[str, str | None]], below: Mapping[str, str]) -> dict[str, str | None]:
    """Return the assignments with references filled in, as dotenv's `resolve_variables` does without `below`."""
    from dotenv.variables import parse_variables

    known: dict[str, str | None] = {**os.environ, **below}
    for name, value in pairs:
        known[name] = value and "".join(atom.resolve(known) for atom in parse_variables(value))
    return {name: known[name] for name, _ in pairs}


def _located(found: "Iterator[dotenv.parser.Binding]", text: str) -> Iterator[Binding]:
    """Yield the bindings with corrected line numbers.

    python-dotenv includes the blank lines before an assignment, and counts a CRLF twice after a dropped line.
    """
    ends = [match.end() for match in _NEWLINE.finditer(text)]
    offset = 0
    for binding in found:
        original = binding.original.string
        begin = offset + len(original) - len(original.lstrip())
        offset += len(original)
        end = max(begin, offset - (len(original) - len(original.rstrip())) - 1)
        yield Binding(
            name=binding.key and _NEWLINE.sub("\n", binding.key),
            value=binding.value,
            original=original,
            line=bisect_right(ends, begin) + 1,
            last_line=bisect_right(ends, end) + 1,
            error=binding.error,
        )
