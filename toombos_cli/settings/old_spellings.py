"""Pydantic 1 syntax in a project's own Python files, which pydantic 2 does not read as settings."""

import ast
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MOST_FILES = 2000
_MOST_BYTES = 512 * 1024
_NOT_SOURCES = {"node_modules", "venv", "env", "site-packages", "run", "logs", "data", "backups", "build", "dist"}
_SETTINGS = re.compile(r"\bBaseSettings\b")


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
    try:
        with warnings.catch_warnings(action="ignore"):  # about the file, such as an invalid escape
            nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):  # not Python 3
        return
    for line, now in sorted(found for node in nodes for found in _old(node)):
        yield OldSpelling(path=path, line=line, now=now)


def _old(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line of an old spelling, and what to write. What pydantic 2 only deprecates is none."""
    if isinstance(node, ast.ImportFrom) and node.module == "pydantic":
        yield from (
            (name.lineno, "it as: from pydantic_settings import ...")
            for name in node.names
            if name.name == "BaseSettings"
        )
    if isinstance(node, ast.Call) and "env" in {keyword.arg for keyword in node.keywords}:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called == "Field":
            yield node.lineno, "Field(validation_alias=...)"


def _python_files(project: Path) -> Iterator[Path]:
    """Yield up to _MOST_FILES files, none in hidden, installed or generated directories."""
    found = 0
    for directory, names, files in os.walk(project):
        names[:] = sorted(n for n in names if not n.startswith(".") and n not in _NOT_SOURCES and found < _MOST_FILES)
        for name in sorted(files):
            if name.endswith(".py") and found < _MOST_FILES:
                found += 1
                yield Path(directory, name)
