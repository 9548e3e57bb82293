"""Selects what to back up: walks the roots, applies the rules, and records what it left out and why."""

import fnmatch
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from toombos_cli.backup.archive import safety
from toombos_cli.backup.archive.attributes import read_attributes
from toombos_cli.backup.archive.format import EntryType, Root
from toombos_cli.backup.databases import COMPANIONS, is_sqlite
from toombos_cli.backup.directory.paths import STAGING_PREFIX

_DAY_S = 86_400
_STAGING = STAGING_PREFIX.encode()


class Found(msgspec.Struct, frozen=True, kw_only=True, gc=False):  # there are many, and no cycles
    """A file, directory or link to back up: `path` on disk with the links above it resolved, `name` in the archive."""

    name: bytes
    path: bytes
    status: os.stat_result
    type: EntryType
    is_database: bool = False
    xattrs: dict[str, bytes] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What to back up. No rule leaves out the names in `always`.

    `databases` are names that are SQLite databases if they exist: a database with a damaged header does not look like
    one and would otherwise be copied as an ordinary file.
    """

    project: Path
    roots: tuple[Root, ...]
    exclude: tuple[str, ...] = ()
    backup_directory: Path
    always: frozenset[bytes] = frozenset()
    databases: frozenset[bytes] = frozenset()


@dataclass(slots=True)
class BackupSelection:
    """The result of the walk, in archive order: each directory before its contents."""

    roots: list[Root] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    left_out: dict[bytes, str] = field(default_factory=dict)  # name: reason
    unreadable: dict[bytes, str] = field(default_factory=dict)  # name: reason

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to save: directories alone are not worth an archive."""
        return not self.unreadable and all(found.type == "dir" for found in self.found)

    @property
    def total_bytes(self) -> int:
        """The size of all files together."""
        return sum(found.status.st_size for found in self.found if found.type == "file")


def select(scope: Scope, now: float) -> BackupSelection:
    """Return everything below the roots that the rules do not exclude; `now` is in seconds since the epoch."""
    selection = BackupSelection()
    excluded = _matcher(scope.exclude)
    above: set[bytes] = set()
    for root in outermost(scope.roots):
        name = root.path.encode()
        path = live_path(scope.project, name)
        if not os.path.lexists(path):
            selection.absent.append(root.path)
            continue
        selection.roots.append(root)
        _add_above(scope.project, name, above, selection)
        newest = now - root.log_days * _DAY_S if root.log_days is not None else None
        walk = _Walk(scope, name, excluded, newest, selection)
        walk.visit(name, path)
    return selection


def live_path(project: Path, name: bytes) -> bytes:
    """Return a root's real path: links are followed, so that a data directory on another disk is backed up."""
    return os.path.realpath(os.path.join(os.fsencode(project), name))


def outermost(roots: Iterable[Root]) -> list[Root]:
    """Return the roots without repetitions and without roots inside other roots."""
    kept: list[Root] = []
    for root in sorted(roots, key=lambda root: root.path.split("/")):
        if not any(safety.is_within(root.path.encode(), other.path.encode()) for other in kept):
            kept.append(root)
    return kept


def _add_above(project: Path, name: bytes, above: set[bytes], selection: BackupSelection) -> None:
    """Add the directories above a root that is not at the top, so that it can be unpacked by hand."""
    parts = name.split(b"/")
    for depth in range(1, len(parts)):
        parent = b"/".join(parts[:depth])
        if parent not in above:
            above.add(parent)
            path = live_path(project, parent)
            selection.found.append(Found(name=parent, path=path, status=os.stat(path), type="dir"))


class _Walk:
    def __init__(
        self, scope: Scope, root: bytes, excluded: re.Pattern[str], newest: float | None, selection: BackupSelection
    ) -> None:
        self._scope, self._root, self._excluded, self._newest = scope, root, excluded, newest
        self._own = os.path.realpath(os.fsencode(scope.backup_directory))
        self._out = selection

    def visit(self, name: bytes, path: bytes) -> None:
        """Add `path` and everything below it, in order. A loop: a tree may have more levels than Python calls."""
        ahead = [(name, path)]
        while ahead:
            name, path = ahead.pop()
            if self._visit_one(name, path):
                children = [(name + b"/" + child, path + b"/" + child) for child in self._children(name, path)]
                ahead += reversed(children)

    def _visit_one(self, name: bytes, path: bytes) -> bool:
        """Add `path`; return whether it is a directory to go into."""
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            self._out.left_out[name] = "vanished while the tree was read"
            return False
        except OSError as error:
            self._out.unreadable[name] = error.strerror or "not readable"
            return False
        reason = self._reason_to_skip(name, path, status)
        if reason:
            self._out.left_out[name] = reason
        elif stat.S_ISDIR(status.st_mode):
            self._add(name, path, status, "dir")
            return True
        elif stat.S_ISLNK(status.st_mode):
            self._add(name, path, status, "symlink")
        else:
            self._add(name, path, status, "file", is_database=name in self._scope.databases or is_sqlite(path))
        return False

    def _add(
        self, name: bytes, path: bytes, status: os.stat_result, kind: EntryType, *, is_database: bool = False
    ) -> None:
        xattrs = read_attributes(path) if kind != "symlink" else {}
        found = Found(name=name, path=path, status=status, type=kind, is_database=is_database, xattrs=xattrs)
        self._out.found.append(found)

    def _children(self, name: bytes, path: bytes) -> Iterator[bytes]:
        try:
            children = sorted(os.listdir(path))
        except OSError as error:
            self._out.unreadable[name] = error.strerror or "not readable"
            return
        companions = (
            {child + suffix for child in children for suffix in COMPANIONS if is_sqlite(os.path.join(path, child))}
            if any(child.endswith(COMPANIONS) for child in children)
            else set()
        )
        yield from (child for child in children if child not in companions)

    def _reason_to_skip(self, name: bytes, path: bytes, status: os.stat_result) -> str | None:
        if path == self._own or os.path.basename(name).startswith(_STAGING):
            return "belongs to toombos"
        complaint = safety.name_complaint(name)
        if complaint:
            return complaint
        if stat.S_ISLNK(status.st_mode):
            complaint = safety.link_complaint(name, os.readlink(path), self._root)
            if complaint:
                return complaint
        elif not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            return "is a socket, fifo or device"
        if name in self._scope.always:
            return None
        if self._excluded.match(name.decode(errors="surrogateescape")):
            return "excluded by the manifest"
        if self._newest is not None and stat.S_ISREG(status.st_mode) and status.st_mtime < self._newest:
            return "is an old log"
        return None


def _matcher(patterns: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that matches names by their whole path, or by their last part if it has no slash."""
    alternatives = []
    for pattern in patterns:
        body = fnmatch.translate(pattern)
        alternatives.append(body if "/" in pattern else f"(?:.*/)?{body}")
    return re.compile("|".join(alternatives) or r"(?!)", re.DOTALL)
