"""The manifest's `[diagnose]` table: log lines whose cause is known, and findings that do not count here.

The lines have the format of the packaged knowledge base.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from string import Formatter
from typing import Literal

from toombos_cli.manifest.tables.table import Table


class LineKind(StrEnum):
    """What a known line is about; `diagnose` has a check for each kind."""

    OOM = "oom"
    MISSING_MODULE = "missing_module"
    PORT = "port"
    DISK = "disk"
    NETWORK = "network"
    POOL = "pool"
    DB = "db"
    AUTH = "auth"
    PUBLISHER = "publisher"
    SIMULATED = "simulated"
    TRIGGER = "trigger"
    KNOWN = "known"
    TIMEOUT = "timeout"


GIVEN = frozenset({"service", "python", "cwd", "host", "port", "project", "culprit", "place"})
"""The names that texts may use besides the groups of the pattern, unless the pattern has a group of that name."""
_FEWEST_CHARACTERS = 4
ID_PATTERN = r"[a-z0-9][a-z0-9_-]*(?:\.[a-z0-9][a-z0-9_-]*)*"
_REPEATS = "?*{"
_SET = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")


class KnownLine(Table, frozen=True):
    """A log line with a known cause, as a regular expression that is searched in each line.

    The texts may contain the pattern's named groups in braces, and `{service}`, `{python}`, `{cwd}`, `{host}`,
    `{port}`, `{project}`, `{culprit}` and `{place}`, the line of a file of the project that the error names.
    """

    id: str
    pattern: str
    cause: str
    """Why a program prints it, in one sentence."""
    fix: tuple[str, ...] = ()
    """The command that mends it: the program and its arguments. It is never run by `--fix`."""
    advice: str = ""
    """What to do if there is no command, or if it cannot be filled in."""
    kind: LineKind = LineKind.KNOWN
    severity: Literal["error", "consequence", "warning", "note"] = "error"
    """A `consequence` says that something failed, and an earlier line why. A `note` looks like an error and is none."""
    own: bool = False
    """Only in the log of the program that the file is about."""
    only_complaints: bool = False
    """Only in a line with the level of an error or a warning."""
    versions: str = ""
    """The versions of the program that print it, such as `>=15,<17`; "" for all."""
    culprit: str = ""
    """Another service that the line is about: `{host}:{port}`, the path of a socket, or the name of a program."""
    over: str = ""
    """The pattern of a later line that shows that the problem is over."""
    link: str = ""
    """Where the program's own documentation describes it."""
    examples: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for problem in self.flaws():
            raise ValueError(problem)

    def flaws(self) -> Iterator[str]:
        """Yield what is wrong with the table, each beginning with its key."""
        if not re.fullmatch(ID_PATTERN, self.id):
            yield f"id {self.id!r}: use lower-case letters, digits, '-' and '_', and '.' between words"
        for key, pattern in (("pattern", self.pattern), ("over", self.over)):
            try:
                re.compile(pattern)
            except re.error as error:
                yield f"{key} is no regular expression: {error}"
                return
        if len(literal_of(self.pattern)) < _FEWEST_CHARACTERS:
            yield f"pattern needs {_FEWEST_CHARACTERS} characters in a row that every such line contains"
        known = GIVEN | re.compile(self.pattern).groupindex.keys()
        for key, text in (("cause", self.cause), ("fix", " ".join(self.fix)), ("advice", self.advice)):
            yield from _unknown_names(key, text, known)
        yield from _unknown_names("culprit", self.culprit, known)
        if self.versions and not _is_specifier(self.versions):
            yield f"versions {self.versions!r}: write a range such as >=15,<17"
        if self.severity != "note" and not (self.fix or self.advice):
            yield "fix or advice is needed"
        for number, example in enumerate(self.examples, start=1):
            if not re.search(self.pattern, example):
                yield f"examples: number {number} does not match the pattern"


def _is_specifier(text: str) -> bool:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return bool(SpecifierSet(text))
    except InvalidSpecifier:
        return False


def _unknown_names(key: str, text: str, known: frozenset[str]) -> Iterator[str]:
    try:
        names = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    except ValueError as error:
        yield f"{key} is no template: {error}"
        return
    yield from (f"{key} has no value for {{{name}}}" for name in names if name not in known)


class Silence(Table, frozen=True):
    """A finding that does not count: the id of its check, or `ID:SERVICE` for that of one service."""

    id: str
    reason: str = ""
    """Why it does not count here."""


class Diagnose(Table, frozen=True):
    """What `diagnose` knows of this system."""

    known: tuple[KnownLine, ...] = ()
    silence: tuple[str | Silence, ...] = ()
    """Findings that do not count: `"ID"`, `"ID:SERVICE"`, or a table that also says why."""

    @property
    def silenced(self) -> dict[str, str]:
        """The ids that are silenced, each with its reason, or ""."""
        return dict((one, "") if isinstance(one, str) else (one.id, one.reason) for one in self.silence)


def literal_of(pattern: str) -> str:
    """Return the longest text, in lower case, that every line with the pattern contains, as far as it is easily seen.

    Only characters outside of groups and sets count; "" if there are alternatives outside of groups.
    """
    best = run = ""
    depth = index = 0
    while index < len(pattern):
        character = pattern[index]
        index += 1
        plain = ""
        if character == "\\":
            plain = "" if pattern[index].isalnum() else pattern[index]
            index += 1
        elif character == "[":
            index = _SET.match(pattern, index - 1).end()  # type: ignore[union-attr]  # the pattern has been compiled
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == "|" and depth == 0:
            return ""
        elif character not in ".^$|?*+{}":
            plain = character
        elif character == "{":
            index = pattern.index("}", index) + 1
        if plain and depth == 0 and not (index < len(pattern) and pattern[index] in _REPEATS):
            run += plain
        else:
            best, run = max(best, run, key=len), ""
    return max(best, run, key=len).lower()
