"""Selects what to back up: walks the roots, applies the rules, and records what it left out and why."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from toombos_cli.backup.archive import safety
from toombos_cli.backup.archive.attributes import read_attributes
from toombos_cli.backup.archive.format import (
    ATTRIBUTES_FORMAT,
    HOLES_FORMAT,
    LINKS_FORMAT,
    PLAIN_FORMAT,
    EntryType,
    Root,
    is_far,
)
from toombos_cli.backup.archive.holes import may_have_holes
from toombos_cli.backup.directory.paths import STAGING_PREFIX
from toombos_cli.backup.reports import OutsideDatabase
from toombos_cli.base.exclude_patterns import ExcludePatterns
from toombos_cli.base.sqlite_files import COMPANIONS, is_sqlite
from toombos_cli.base.text import printable

_DAY_S = 86_400
_STAGING = STAGING_PREFIX.encode()


_KINDS = frozenset({stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO})


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
    writes_exclude: bool = True
    """Whether a person wrote the exclude patterns: one that matches nothing is most likely misspelt."""


@dataclass(slots=True)
class BackupSelection:
    """The result of the walk, in archive order: each directory before its contents."""

    roots: list[Root] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    left_out: dict[bytes, str] = field(default_factory=dict)  # name: reason
    unreadable: dict[bytes, str] = field(default_factory=dict)  # name: reason

    unmatched: tuple[str, ...] = ()
    """The exclude patterns that match nothing."""
    outside: dict[bytes, bytes] = field(default_factory=dict)
    """The links to SQLite databases that no root contains, each with the path of the database."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to save: directories alone are not worth an archive."""
        return not self.unreadable and all(found.type in ("dir", "fifo") for found in self.found)

    @property
    def total_bytes(self) -> int:
        """The size of all files together, without holes."""
        files = (found.status for found in self.found if found.type == "file")
        return sum(min(status.st_size, status.st_blocks * 512) for status in files)


def select(scope: Scope, now: float) -> BackupSelection:
    """Return everything below the roots that the rules do not exclude; `now` is in seconds since the epoch."""
    selection = BackupSelection()
    excluded = ExcludePatterns(scope.exclude)
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
        walk = _Walk(scope, excluded, newest, selection)
        walk.visit(name, path)
    selection.unmatched = excluded.unmatched if scope.writes_exclude else ()
    return selection


def format_of(found: Iterable[Found]) -> int:
    """Return the oldest format that can describe everything that was found."""
    return max(map(_format_of_one, found), default=PLAIN_FORMAT)


def _format_of_one(found: Found) -> int:
    status = found.status
    if may_have_holes(status) and not found.is_database:
        return HOLES_FORMAT
    has_more_names = found.type == "file" and status.st_nlink > 1
    if has_more_names or found.type in ("symlink", "fifo") or is_far(status.st_mtime_ns):
        return LINKS_FORMAT
    return ATTRIBUTES_FORMAT if found.xattrs else PLAIN_FORMAT


def outside_databases(selection: BackupSelection) -> tuple[OutsideDatabase, ...]:
    """Return the links to SQLite databases that no root contains."""
    return tuple(
        OutsideDatabase(path=printable(name), target=printable(target))
        for name, target in sorted(selection.outside.items())
    )


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
        self, scope: Scope, excluded: ExcludePatterns, newest: float | None, selection: BackupSelection
    ) -> None:
        self._scope, self._excluded, self._newest = scope, excluded, newest
        self._roots = [live_path(scope.project, root.path.encode()) for root in scope.roots]
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
            reason = self._reason_to_skip(name, path, status)
            complaint = None if reason else self._complaint(name, path, status)
            if reason:
                self._out.left_out[name] = reason
            elif complaint:
                self._out.unreadable[name] = complaint
            else:
                self._take(name, path, status)
                return stat.S_ISDIR(status.st_mode)
        except FileNotFoundError:
            self._out.left_out[name] = "vanished while the tree was read"
        except OSError as error:
            self._out.unreadable[name] = error.strerror or "not readable"
        return False

    def _take(self, name: bytes, path: bytes, status: os.stat_result) -> None:
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            self._add(name, path, status, "dir")
        elif kind == stat.S_IFIFO:
            self._add(name, path, status, "fifo")
        elif kind == stat.S_IFREG:
            self._add(name, path, status, "file", is_database=name in self._scope.databases or is_sqlite(path))
        else:
            self._add(name, path, status, "symlink")
            real = os.path.realpath(path)
            if not any(safety.is_within(real, root) for root in self._roots) and is_sqlite(real):
                self._out.outside[name] = real

    def _complaint(self, name: bytes, path: bytes, status: os.stat_result) -> str | None:
        """Return why an archive cannot hold something that belongs in it, or None."""
        is_link = stat.S_ISLNK(status.st_mode)
        return safety.name_complaint(name) or (safety.link_complaint(os.readlink(path)) if is_link else None)

    def _add(
        self, name: bytes, path: bytes, status: os.stat_result, kind: EntryType, *, is_database: bool = False
    ) -> None:
        xattrs = read_attributes(path) if kind in ("file", "dir") else {}
        found = Found(name=name, path=path, status=status, type=kind, is_database=is_database, xattrs=xattrs)
        self._out.found.append(found)

    def _children(self, name: bytes, path: bytes) -> Iterator[bytes]:
        try:
            children = sorted(os.listdir(path))
        except OSError as error:
            self._out.unreadable[name] = error.strerror or "not readable"
            return
        companions = (
            {child + suffix for child in children for suffix in COMPANIONS if is_sqlite(path + b"/" + child)}
            if any(child.endswith(COMPANIONS) for child in children)
            else set()
        )
        yield from (child for child in children if child not in companions or os.path.isdir(path + b"/" + child))

    def _reason_to_skip(self, name: bytes, path: bytes, status: os.stat_result) -> str | None:
        if path == self._own or os.path.basename(name).startswith(_STAGING):
            return "belongs to toombos"
        if stat.S_IFMT(status.st_mode) not in _KINDS:
            return "is a socket or device"
        if name in self._scope.always:
            return None
        if self._excluded.matches(os.fsdecode(name), is_directory=stat.S_ISDIR(status.st_mode)):
            return "excluded by the manifest"
        if self._newest is not None and stat.S_ISREG(status.st_mode) and status.st_mtime < self._newest:
            return "is an old log"
        return None
