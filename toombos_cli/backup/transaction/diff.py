"""Compares the live tree with an archive by content, to show what a restore changes."""

import hashlib
import os
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from toombos_cli.backup.archive.format import Entry
from toombos_cli.backup.archive.holes import has_content
from toombos_cli.backup.databases import snapshot
from toombos_cli.backup.observer import Silent
from toombos_cli.backup.selection import Found


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The names only in the archive, those that differ, and those only in the live tree; each sorted."""

    added: tuple[bytes, ...]
    changed: tuple[bytes, ...]
    removed: tuple[bytes, ...]


def compare(archived: Iterable[Entry], live: Mapping[bytes, Callable[[Entry], bool]]) -> Difference:
    """Compare entries with `live`, which maps each name to a function that reports whether it equals an entry.

    Directories count only as added or removed.
    """
    entries = {entry.name: entry for entry in archived}
    return Difference(
        added=tuple(sorted(entries.keys() - live.keys())),
        changed=tuple(sorted(name for name in entries.keys() & live.keys() if not live[name](entries[name]))),
        removed=tuple(sorted(live.keys() - entries.keys())),
    )


def from_archive(entries: Iterable[Entry]) -> dict[bytes, Callable[[Entry], bool]]:
    """Return comparison functions for the live tree as a backup just taken describes it."""

    def equal_to(mine: Entry) -> Callable[[Entry], bool]:
        return lambda other: _shape(mine) == _shape(other) and mine.sha256 == other.sha256

    return {entry.name: equal_to(entry) for entry in entries}


def from_disk(found: Iterable[Found]) -> dict[bytes, Callable[[Entry], bool]]:
    """Return comparison functions for the live tree on disk; a file is read only if its size and mode are equal."""

    def equal_to(mine: Found) -> Callable[[Entry], bool]:
        return lambda other: _equals(mine, other)

    return {one.name: equal_to(one) for one in found}


def _shape(entry: Entry) -> tuple[object, ...]:
    target, mode = (entry.target, 0) if entry.type == "symlink" else (b"", entry.mode)
    return entry.type, mode, entry.size, entry.data, target, entry.xattrs


def _equals(mine: Found, other: Entry) -> bool:
    if mine.type != other.type:
        return False
    if mine.type == "symlink":
        return os.readlink(mine.path) == other.target
    if stat.S_IMODE(mine.status.st_mode) != other.mode or mine.xattrs != other.xattrs:
        return False
    if mine.type in ("dir", "fifo"):
        return True
    try:
        if mine.is_database:
            return _snapshot_sha256(mine.path) == other.sha256
        with open(mine.path, "rb") as file:
            return has_content(file.fileno(), other)
    except (OSError, sqlite3.Error):
        return False


def _snapshot_sha256(database: bytes) -> str:
    """Return the hash of a snapshot. Snapshots of one state are equal; live files differ by change counter and -wal."""
    with tempfile.TemporaryDirectory(prefix="toombos-") as scratch:
        copy = Path(scratch) / "snapshot"
        snapshot(database, copy, Silent())
        with copy.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
