"""Decides which files of a service are watched: the directories to look into, and the paths whose change counts."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate

from toombos_cli.manifest.tables.watch import WatchTable

_WILD = frozenset("*?[")
_NEVER_NAMED = (
    *(".git", ".hg", ".svn", ".jj", "node_modules", "__pycache__", ".venv", "venv", ".tox", ".nox", ".idea", ".vscode"),
    *(".*_cache", ".cache", ".DS_Store", "*.pyc", "*.pyo", "*.egg-info"),
    *("*~", ".*.sw?", ".*.swpx", "4913", ".#*", "#*#", "*___jb_tmp___", "*___jb_old___", ".~lock.*#"),
)
"""Names below a watched directory that never count: version control, installed packages, caches, editors' own files."""
_NEVER = re.compile("|".join(map(translate, _NEVER_NAMED)))
_OWN = ("run", "logs", "data")
"""Directories of the project that its services and toombos write to."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One path of the manifest: the part before the first wildcard, absolute, and the pattern below that."""

    prefix: str
    pattern: tuple[str, ...]


class WatchedFiles:
    """The files that the table of a service in this project names. `log` is the service's own log."""

    def __init__(self, project: str, table: WatchTable, log: str) -> None:
        self._project = project
        self._entries = tuple(_entry(project, path) for path in table.paths)
        self._ignore = tuple(tuple(pattern.strip("/").split("/")) for pattern in table.ignore)
        self._anchored = tuple(pattern.strip("/").count("/") > 0 or pattern.startswith("/") for pattern in table.ignore)
        self._own = (*(os.path.join(project, name) for name in _OWN), log)

    def directories(self) -> frozenset[str]:
        """Return the directories to look into that this user may read, each without those below it.

        The parent of each path is one of them, so that a path that does not exist yet, or is replaced, is seen.
        """
        found: set[str] = set()
        for entry in self._entries:
            if entry.prefix != self._project:
                found.add(_existing(os.path.dirname(entry.prefix)))
            for directory, below, _ in os.walk(entry.prefix):
                found.add(directory)
                deeper = _is_deep(entry) or len(_parts(directory, entry.prefix)) + 1 < len(entry.pattern)
                below[:] = [name for name in below if deeper and self._is_open(os.path.join(directory, name), entry)]
        return frozenset(directory for directory in found if os.access(directory, os.R_OK | os.X_OK))

    def counts(self, path: str) -> bool:
        """Return whether a change of this path counts."""
        return any(
            _is_below(path, entry.prefix) and self._is_open(path, entry) and _matches_entry(path, entry)
            for entry in self._entries
        )

    def existing(self, directories: Iterable[str]) -> Iterator[str]:
        """Yield the files in these directories, without those below, whose change counts."""
        for directory in directories:
            try:
                names = os.listdir(directory)
            except OSError:
                continue
            paths = (os.path.join(directory, name) for name in names)
            yield from (path for path in paths if self.counts(path) and not os.path.isdir(path))

    def shown(self, paths: Iterable[str]) -> str:
        """Return the changed files for a person, as in `src/app.py and 3 more`: first those that exist."""
        names = sorted(paths, key=lambda path: (not os.path.exists(path), path))
        first = os.path.relpath(names[0], self._project) if _is_below(names[0], self._project) else names[0]
        return f"{first} and {len(names) - 1} more" if len(names) > 1 else first

    def _is_open(self, path: str, entry: _Entry) -> bool:
        """Return whether nothing says that the path is left out, from the entry's own path on."""
        parts = _parts(path, entry.prefix)
        if any(map(_NEVER.match, parts)):
            return False
        if any(_is_below(path, own) and not _is_below(entry.prefix, own) for own in self._own):
            return False
        inside = _parts(path, self._project) if _is_below(path, self._project) else parts
        return not any(self._is_ignored(inside, index) for index in range(len(self._ignore)))

    def _is_ignored(self, parts: tuple[str, ...], index: int) -> bool:
        """Return whether the pattern matches the path or a directory above it; without a slash, any part of it."""
        pattern = self._ignore[index]
        if not self._anchored[index]:
            return any(fnmatchcase(part, pattern[0]) for part in parts)
        return any(_matches(parts[:end], pattern) for end in range(1, len(parts) + 1))


def _entry(project: str, path: str) -> _Entry:
    parts = os.path.normpath(path).split("/")
    fixed = next((i for i, part in enumerate(parts) if _WILD & set(part)), len(parts))
    head = "/".join(parts[:fixed]) or ("/" if os.path.isabs(path) else ".")
    return _Entry(os.path.normpath(os.path.join(project, head)), tuple(parts[fixed:]))


def _is_deep(entry: _Entry) -> bool:
    return not entry.pattern or "**" in entry.pattern


def _matches_entry(path: str, entry: _Entry) -> bool:
    return not entry.pattern or _matches(_parts(path, entry.prefix), entry.pattern)


def _matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Return whether the parts of a path match those of a pattern; `**` stands for any number of them."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[skipped:], pattern[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _is_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")


def _parts(path: str, directory: str) -> tuple[str, ...]:
    """Return the parts of a path below a directory, none for the directory itself."""
    return tuple(filter(None, path[len(directory) :].split("/")))


def _existing(directory: str) -> str:
    """Return the directory, or the nearest one above it that exists."""
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return directory
