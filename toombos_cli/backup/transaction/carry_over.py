"""Hard-links live files that no backup contains into staging, so that exchanging a root does not lose them."""

import os
import shutil
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from toombos_cli.backup.archive.reader import Archive
from toombos_cli.backup.selection import BackupSelection
from toombos_cli.base.sqlite_files import COMPANIONS
from toombos_cli.base.text import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The files carried over; `complete` is False if one could not be."""

    names: tuple[bytes, ...]
    complete: bool


def keep_left_out(
    selection: BackupSelection,
    archive: Archive,
    live_of: Callable[[bytes], bytes | None],
    staged_of: Callable[[bytes], bytes | None],
) -> Kept:
    """Link what `selection` left out, and what was unreadable when the archive was made, into the staged tree.

    `live_of` and `staged_of` return the paths of a name, or None if it is not in a restored path.
    """
    entries = {entry.name: entry for entry in archive.manifest.entries}
    databases = {name for name, entry in entries.items() if entry.database}
    names, complete = [], True
    for name in _candidates(selection, archive):
        live, staged = live_of(name), staged_of(name)
        is_companion = any(name == database + suffix for database in databases for suffix in COMPANIONS)
        is_archived = name in entries and entries[name].type != "dir"
        if live is None or staged is None or is_companion or is_archived or not os.path.lexists(live):
            continue
        try:
            _make_parents(os.path.dirname(staged), os.path.dirname(live))
            link_tree(live, staged)
        except OSError:
            complete = False
        else:
            names.append(name)
    return Kept(names=tuple(names), complete=complete)


def _candidates(selection: BackupSelection, archive: Archive) -> Iterable[bytes]:
    unreadable = set(archive.manifest.unreadable)
    found = (found.name for found in selection.found if printable(found.name) in unreadable) if unreadable else ()
    return sorted({*selection.left_out, *selection.unreadable, *found})


def link_tree(source: bytes, target: bytes) -> None:
    """Recreate `source` at `target` with hard links to its files. Existing files stay. Raise OSError."""
    status = os.lstat(source)
    if stat.S_ISDIR(status.st_mode):
        if not os.path.lexists(target):
            os.mkdir(target, 0o700)
        for name in os.listdir(source):
            link_tree(os.path.join(source, name), os.path.join(target, name))
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(target, status.st_uid, status.st_gid)
        shutil.copystat(source, target)
    elif not os.path.lexists(target):
        try:
            os.link(source, target, follow_symlinks=False)
        except (PermissionError, NotImplementedError):  # links to files of others, or to links, may be forbidden
            shutil.copy2(source, target, follow_symlinks=False)


def _make_parents(staged: bytes, live: bytes) -> None:
    if not os.path.isdir(staged):
        _make_parents(os.path.dirname(staged), os.path.dirname(live))
        os.mkdir(staged)
        shutil.copystat(live, staged)
