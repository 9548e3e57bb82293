"""Finds what is known about a line: the team's own descriptions come first, then those of other packages."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import msgspec

from toombos_cli.base.errors import type_and_place
from toombos_cli.base.plain_files import read_plain
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted_toml
from toombos_cli.diagnose.plugins import registered
from toombos_cli.manifest.tables.known import KnownLine, literal_of
from toombos_cli.manifest.tables.table import Table

_ENTRY_POINTS = "toombos.known"

FILES = (
    "toombos",
    "django",
    "celery",
    "python_libraries",
    "postgresql",
    "redis",
    "mysql",
    "sqlite",
    "memcached",
    "nginx",
    "proxies",
    "brokers",
    "prometheus",
    "python_servers",
    "node",
    "python",
    "java",
    "go",
    "rust",
    "php",
    "ruby",
    "system",
    "common",
)
"""The packaged files, in the order in which they are searched: a program before the runtime that it is written in."""


class Program(Table, frozen=True):
    """The program or runtime that a file is about, and how a service that is one is recognised."""

    name: str
    commands: tuple[str, ...] = ()
    """Regular expressions of the names of its executables, scripts and modules."""
    lines: str = ""
    """A regular expression of the lines that only this program prints."""
    version: str = ""
    """A regular expression of the line in which it says its version, the group of that name."""


class KnownFile(Table, frozen=True):
    """One file of the knowledge base."""

    program: Program
    known: tuple[KnownLine, ...] = ()


class _PackagedLine(KnownLine, frozen=True):
    """A line of the packaged files, which tests have checked."""

    def __post_init__(self) -> None:
        pass


class _PackagedFile(KnownFile, frozen=True):
    known: tuple[_PackagedLine, ...] = ()


@dataclass(frozen=True, kw_only=True)
class KnownEntry:
    """A known line with the program that its file is about."""

    line: KnownLine
    program: str = ""

    @cached_property
    def literal(self) -> str:
        """A text that every such line contains, in lower case."""
        return literal_of(self.line.pattern)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The compiled pattern."""
        return re.compile(self.line.pattern)

    def match(
        self, text: str, *, lowered: str, complains: bool, is_last_word: bool, programs: Collection[str]
    ) -> re.Match[str] | None:
        """Return the match of a line, or None; the arguments are those of `first_match`."""
        if self.literal not in lowered:
            return None
        if not complains and (self.line.only_complaints or not (is_last_word or self.line.own)):
            return None
        if self.line.own and self.program and self.program not in programs:
            return None
        return self.pattern.search(text)


class KnownLines:
    """All known lines in the order in which they are tried: the first that matches decides."""

    def __init__(self, own: tuple[KnownLine, ...], foreign: tuple[KnownFile, ...]) -> None:
        files = (*foreign, *packaged())
        described = (KnownEntry(line=line, program=file.program.name) for file in files for line in file.known)
        self.entries = (*(KnownEntry(line=line) for line in own), *described)
        self.programs = tuple(file.program for file in files)

    def possible(self, texts: Iterable[str]) -> tuple[KnownEntry, ...]:
        """Return the entries that may match one of the lines: a search in all of them is faster than one in each."""
        text = "\n".join(texts).lower()
        return tuple(entry for entry in self.entries if entry.literal in text)

    def programs_of(self, names: Collection[str], lines: Collection[str]) -> dict[str, str]:
        """Return the programs that a service with these names of executables and these log lines is, by version."""
        return {
            program.name: _version(program, lines)
            for program in self.programs
            if any(re.fullmatch(command, name) for command in program.commands for name in names)
            or (program.lines and any(re.search(program.lines, line) for line in lines))
        }


def first_match(
    entries: Iterable[KnownEntry], text: str, *, complains: bool, is_last_word: bool, programs: Mapping[str, str]
) -> tuple[KnownEntry, re.Match[str]] | None:
    """Return the first of the entries that explains the line, with its match.

    The log is that of a service that is these programs, each with its version or "". Unless the service was ended and
    this may be its last word, a line without the level of an error or a warning (`complains`) counts only if its
    program is known to print its errors so.
    """
    lowered = text.lower()
    for entry in entries:
        found = entry.match(text, lowered=lowered, complains=complains, is_last_word=is_last_word, programs=programs)
        if found and is_in_range(programs.get(entry.program, ""), entry.line.versions):
            return entry, found
    return None


def _version(program: Program, lines: Collection[str]) -> str:
    said = (re.search(program.version, line) for line in lines) if program.version else ()
    return next((match["version"] for match in said if match), "")


def is_in_range(version: str, versions: str) -> bool:
    """Return whether the version is one of `versions`; also if either is unknown."""
    if not version or not versions:
        return True
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion

    try:
        return SpecifierSet(versions).contains(version, prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return True


@cache
def packaged() -> tuple[KnownFile, ...]:
    """Return the packaged files."""
    return tuple(_decoded(Path(__file__).with_name(f"{name}.toml"), _PackagedFile) for name in FILES)


@cache
def of_other_packages() -> tuple[tuple[KnownFile, ...], tuple[str, ...]]:
    """Return the files that other packages register in the entry point group `toombos.known`, and what is wrong.

    An entry point is the path of a TOML file in the format of the packaged ones.
    """
    found: list[KnownFile] = []
    problems: list[str] = []
    for entry in registered(_ENTRY_POINTS):
        try:
            found.append(_decoded(Path(entry.load()), KnownFile))
        except (UntrustedError, msgspec.ValidationError, OSError) as error:
            problems.append(f"{entry.value}: {error}")
        except Exception as error:  # what another package does wrong must not stop a diagnosis
            problems.append(f"{entry.value}: {type_and_place(error)}")
    return tuple(found), tuple(problems)


def _decoded(path: Path, kind: Any) -> Any:
    return msgspec.convert(decode_untrusted_toml(read_plain(path).decode()), kind)


@lru_cache(maxsize=4)
def catalogue(own: tuple[KnownLine, ...]) -> KnownLines:
    """Return the catalogue of a manifest with these `[[diagnose.known]]` tables."""
    return KnownLines(own, of_other_packages()[0])


def all_lines() -> Iterator[tuple[str, KnownLine]]:
    """Yield the packaged lines in their order, each with the name of its file."""
    for name, file in zip(FILES, packaged(), strict=True):
        yield from ((name, line) for line in file.known)
