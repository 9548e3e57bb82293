"""The live paths that a restore replaces: the archive's roots, or the paths that `--only` names."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from toombos_cli.backup.archive.format import Entry
from toombos_cli.backup.archive.reader import Archive
from toombos_cli.backup.archive.restore_txt import UNPACK
from toombos_cli.backup.archive.safety import is_within, name_complaint, root_of
from toombos_cli.backup.databases import COMPANIONS
from toombos_cli.backup.directory.paths import STAGING_PREFIX
from toombos_cli.backup.postgres import DUMP_NAME, DUMP_ROOT
from toombos_cli.backup.selection import live_path
from toombos_cli.base.errors import RefusedError, UsageError
from toombos_cli.base.fixes import here
from toombos_cli.base.spelling import did_you_mean
from toombos_cli.base.text import printable

_NEVER_KNOWN = frozenset((b"run", b".git"))
"""What would be believed or executed by the next command, and what no backup takes by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreTarget:
    """One path that is replaced as a whole. Without content, as for a file beside a database, it is removed."""

    name: bytes
    live: bytes
    staged: bytes
    aside: bytes
    has_content: bool


@dataclass(frozen=True, slots=True)
class Targets:
    """All paths of one restore, and the staging directories beside them."""

    items: tuple[RestoreTarget, ...]
    staging: tuple[bytes, ...]
    dump: bytes | None = None
    passed_over: tuple[bytes, ...] = ()
    """The roots of the archive that the manifest does not name, and nobody asked for."""

    @property
    def places(self) -> dict[bytes, bytes]:
        """Where the content of each target, and the dump of a database server, is staged."""
        places = {target.name: target.staged for target in self.items if target.has_content}
        return places | ({DUMP_NAME: self.dump} if self.dump else {})

    def covers(self, name: bytes) -> bool:
        return any(is_within(name, target.name) for target in self.items)

    def live_of(self, name: bytes) -> bytes | None:
        return next((t.live + name[len(t.name) :] for t in self.items if is_within(name, t.name)), None)

    def wanted(self, archive: Archive) -> tuple[Entry, ...]:
        """Return the archive's entries that are restored."""
        return tuple(entry for entry in archive.manifest.entries if self.covers(entry.name))


def plan_targets(
    archive: Archive, project: Path, only: Sequence[str], token: str, *, known: Collection[bytes] | None = None
) -> Targets:
    """Return the paths to replace and where they are staged.

    `known` are the names that a backup of this project has, None if any name is: a root elsewhere is restored only if
    `only` names it.

    Raise UsageError for a path that is not in the archive, RefusedError for one that cannot be exchanged.
    """
    entries = {entry.name: entry for entry in archive.manifest.entries}
    dump_root = DUMP_ROOT.encode()
    found = [root for root in archive.roots if root in entries and root != dump_root]
    unknown = () if only else tuple(root for root in found if not _is_known(root, known))
    names = _asked(only, archive, entries) if only else [root for root in found if root not in unknown]
    if unknown and not names:
        raise RefusedError(
            f"the archive has only what no backup of this project has: {', '.join(map(printable, unknown))}",
            where=str(archive.path),
            hint=here("restore", str(archive.path), "--only", printable(unknown[0])),
        )
    items: list[RestoreTarget] = []
    staging: dict[bytes, None] = {}
    for name in names:
        live = _live(project, name, archive)
        beside = _staging_beside(live, project, token)
        staging[beside] = None
        companions = COMPANIONS if entries[name].database else ()
        for suffix in (b"", *companions):
            number = b"%d" % len(items)
            items.append(
                RestoreTarget(
                    name=name + suffix,
                    live=live + suffix,
                    staged=os.path.join(beside, b"new", number),
                    aside=os.path.join(beside, b"old", number),
                    has_content=not suffix,
                )
            )
    dump = None
    if not only and DUMP_NAME in entries:
        beside = _staging_beside(os.fsencode(project / DUMP_ROOT), project, token)
        staging[beside] = None
        dump = os.path.join(beside, b"new", b"postgresql.dump")
    return Targets(tuple(items), tuple(staging), dump, unknown)


def _is_known(root: bytes, known: Collection[bytes] | None) -> bool:
    if known is None:
        return root not in _NEVER_KNOWN
    return any(is_within(root, name) for name in known)


def make_staging(targets: Targets) -> None:
    """Create the staging directories, private to the user."""
    for directory in targets.staging:
        os.mkdir(directory, 0o700)
        os.mkdir(os.path.join(directory, b"new"), 0o700)
        os.mkdir(os.path.join(directory, b"old"), 0o700)


def _asked(only: Sequence[str], archive: Archive, entries: dict[bytes, Entry]) -> list[bytes]:
    names: list[bytes] = []
    for path in only:
        name = os.fsencode(path.rstrip("/"))
        if name_complaint(name) or name not in entries or root_of(name, archive.roots) is None:
            raise UsageError(
                f"the archive does not contain {path!r}",
                where=str(archive.path),
                hint=did_you_mean(path, map(printable, entries), "paths are relative to the project: data/history.db"),
            )
        names.append(name)
    return [name for name in dict.fromkeys(names) if not any(name != o and is_within(name, o) for o in names)]


def _live(project: Path, name: bytes, archive: Archive) -> bytes:
    root = root_of(name, archive.roots) or name
    live = live_path(project, root) + name[len(root) :]
    parent = os.path.dirname(live)
    if os.path.realpath(parent) != parent:
        raise RefusedError(f"{printable(name)!r} is behind a link in the live tree", where=os.fsdecode(parent))
    if os.path.ismount(live):
        raise RefusedError(
            f"{printable(name)!r} is a mount point and cannot be exchanged as a whole",
            where=os.fsdecode(live),
            hint=f"{UNPACK} {archive.path} -C EMPTY_DIRECTORY",
        )
    return live


def _staging_beside(live: bytes, project: Path, token: str) -> bytes:
    """Return a staging directory on the file system of the live path: in the project if possible, else beside it."""
    parent = os.path.dirname(live)
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    top = os.fsencode(project)
    home = top if os.stat(top).st_dev == os.stat(parent).st_dev else parent
    return os.path.join(home, os.fsencode(STAGING_PREFIX + token))
