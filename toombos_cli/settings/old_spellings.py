"""Pydantic 1 syntax in a project's own Python files, which pydantic 2 does not read as settings."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MOST_FILES = 2000
_MOST_BYTES = 512 * 1024
_NOT_SOURCES = {"node_modules", "venv", "env", "site-packages", "run", "logs", "data", "backups", "build", "dist"}
_SETTINGS = re.compile(r"\bBaseSettings\b")
# What pydantic 2 still reads (class Config, @validator) is no fault, although it is deprecated.
_SPELLINGS = (
    (
        re.compile(r"^\s*from\s+pydantic\s+import\s+[^#\n]*\bBaseSettings\b"),
        "it as: from pydantic_settings import ...",
    ),
    (re.compile(r"\bField\([^)\n]*\benv\s*="), "Field(validation_alias=...)"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OldSpelling:
    """One line that pydantic 2 rejects or ignores; `now` is what to write instead."""

    path: Path
    line: int
    now: str


def find_old_spellings(project: Path) -> tuple[OldSpelling, ...]:
    """Return the old spellings in every Python file of the project that mentions BaseSettings, in path order."""
    return tuple(spelling for path in _python_files(project) for spelling in _spellings(path))


def _spellings(path: Path) -> Iterator[OldSpelling]:
    try:
        text = path.read_text("utf-8") if path.stat().st_size <= _MOST_BYTES else ""
    except (OSError, UnicodeDecodeError):
        return
    if not _SETTINGS.search(text):
        return
    for number, line in enumerate(text.splitlines(), start=1):
        for pattern, now in _SPELLINGS:
            if pattern.search(line):
                yield OldSpelling(path=path, line=number, now=now)


def _python_files(project: Path) -> Iterator[Path]:
    """Yield up to _MOST_FILES files, none in hidden, installed or generated directories."""
    found = 0
    for directory, names, files in os.walk(project):
        names[:] = sorted(n for n in names if not n.startswith(".") and n not in _NOT_SOURCES and found < _MOST_FILES)
        for name in sorted(files):
            if name.endswith(".py") and found < _MOST_FILES:
                found += 1
                yield Path(directory, name)
