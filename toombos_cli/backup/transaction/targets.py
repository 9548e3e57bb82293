"""The live paths that a restore replaces: the archive's roots, or the paths that `--only` names.

A directory that is a mount point, or has one below it, cannot be exchanged as a whole. It stays where it is, and what
it contains is replaced path by path, each on its own file system.
"""

import functools
import hashlib
import os
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toombos_cli.backup.archive.format import Entry
from toombos_cli.backup.archive.holes import has_content
from toombos_cli.backup.archive.reader import Archive
from toombos_cli.backup.archive.safety import is_within, name_complaint, root_of
from toombos_cli.backup.directory.paths import STAGING_PREFIX
from toombos_cli.backup.mounts import holds_mount, is_read_only, mounts_below, on_same_mount
from toombos_cli.backup.postgres import DUMP_NAME, DUMP_ROOT
from toombos_cli.backup.selection import live_path
from toombos_cli.base.errors import RefusedError, UsageError
from toombos_cli.base.fixes import here
from toombos_cli.base.quoting import quoted
from toombos_cli.base.spelling import did_you_mean
from toombos_cli.base.sqlite_files import COMPANIONS
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


@dataclass(frozen=True, slots=True, kw_only=True)
class StayingDirectory:
    """A directory that a restore cannot exchange; `entry` is what the archive says about it, None for nothing."""

    name: bytes
    live: bytes
    entry: Entry | None


@dataclass(frozen=True)
class Targets:
    """All paths of one restore, and the staging directories beside them."""

    items: tuple[RestoreTarget, ...]
    staging: tuple[bytes, ...]
    dump: bytes | None = None
    passed_over: tuple[bytes, ...] = ()
    """What nobody asked for: roots of the archive that the manifest does not name, and outputs of backup commands."""
    staying: tuple[StayingDirectory, ...] = ()
    untouched: tuple[bytes, ...] = ()
    """What stays as it is in the directories that stay: mount points unknown to the archive, and excluded files."""
    read_only: tuple[bytes, ...] = ()
    """Those of them that the archive has, but that are mounted read-only."""

    @functools.cached_property
    def places(self) -> dict[bytes, bytes]:
        """Where the content of each target, and the dump of a database server, is staged."""
        places = {target.name: target.staged for target in self.items if target.has_content}
        return places | ({DUMP_NAME: self.dump} if self.dump else {})

    @functools.cached_property
    def _live(self) -> dict[bytes, bytes]:
        return {target.name: target.live for target in self.items}

    @functools.cached_property
    def _staying(self) -> frozenset[bytes]:
        return frozenset(one.name for one in self.staying)

    def covers(self, name: bytes) -> bool:
        return name in self._staying or below_one(name, self._live) is not None

    def live_of(self, name: bytes) -> bytes | None:
        return below_one(name, self._live)

    def wanted(self, archive: Archive) -> tuple[Entry, ...]:
        """Return the archive's entries that are restored."""
        return tuple(entry for entry in archive.manifest.entries if self.covers(entry.name))

    def has_same_mounts(self, other: "Targets") -> bool:
        """Report whether two plans leave the same directories in place and stage beside the same paths."""
        return (self._staying, set(self.staging)) == (other._staying, set(other.staging))


def below_one(name: bytes, paths: Mapping[bytes, bytes]) -> bytes | None:
    """Return the path of a name below that one of the mapping's names that contains it, or None."""
    end = name.find(b"/")
    while end != -1:
        top = name[:end]
        if top in paths:
            return paths[top] + name[end:]
        end = name.find(b"/", end + 1)
    return paths.get(name)


def plan_targets(
    archive: Archive,
    project: Path,
    only: Sequence[str],
    token: str,
    *,
    known: Collection[bytes] | None = None,
    left_out: Callable[[], Collection[bytes]] = tuple,
) -> Targets:
    """Return the paths to replace and where they are staged.

    `known` are the names that a backup of this project has, None if any name is: a root elsewhere is restored only if
    `only` names it. `left_out` returns the live names that no backup takes.

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
    plan = _Plan(archive, entries, project, token, left_out)
    for name in names:
        plan.add_top(name, _live(project, name, archive))
    staging = dict.fromkeys(plan.staging)
    dump = None
    if not only and DUMP_NAME in entries:
        beside = _staging_beside(os.fsencode(project / DUMP_ROOT), project, token)
        staging[beside] = None
        dump = os.path.join(beside, b"new", b"postgresql.dump")
    outputs = () if only else tuple(n for n in entries if n != DUMP_NAME and n.startswith(f"{DUMP_ROOT}/".encode()))
    return Targets(
        items=tuple(plan.items.values()),
        staging=tuple(staging),
        dump=dump,
        passed_over=(*unknown, *outputs),
        staying=tuple(plan.staying),
        untouched=tuple(plan.untouched),
        read_only=tuple(plan.read_only),
    )


@dataclass
class _Plan:
    """Collects the targets; goes into a directory only if a file system is mounted at it or below it."""

    archive: Archive
    entries: Mapping[bytes, Entry]
    project: Path
    token: str
    left_out: Callable[[], Collection[bytes]]
    items: dict[bytes, RestoreTarget] = field(default_factory=dict)
    staging: dict[bytes, None] = field(default_factory=dict)
    staying: list[StayingDirectory] = field(default_factory=list)
    untouched: list[bytes] = field(default_factory=list)
    read_only: list[bytes] = field(default_factory=list)
    mounts: tuple[bytes, ...] = ()

    def add_top(self, name: bytes, live: bytes) -> None:
        self.mounts = mounts_below(live)
        self._add(name, live)

    def _add(self, name: bytes, live: bytes) -> None:
        if not holds_mount(live, self.mounts):
            self._exchange(name, live)
        elif stat.S_ISDIR(os.lstat(live).st_mode):
            self._go_into(name, live)
        else:
            self._leave_file(name, live)

    def _exchange(self, name: bytes, live: bytes) -> None:
        beside = _staging_beside(live, self.project, self.token)
        self.staging[beside] = None
        entry = self.entries.get(name)
        suffixes = (b"", *COMPANIONS) if entry and entry.database else (b"",)
        for suffix in suffixes:
            # A number would change when a file appears between the plan and its execution.
            label = hashlib.sha256(name + suffix).hexdigest()[:32].encode()
            if name + suffix not in self.items:
                self.items[name + suffix] = RestoreTarget(
                    name=name + suffix,
                    live=live + suffix,
                    staged=os.path.join(beside, b"new", label),
                    aside=os.path.join(beside, b"old", label),
                    has_content=not suffix,
                )

    def _go_into(self, name: bytes, live: bytes) -> None:
        """Leave a directory in place and plan what it contains, in the archive and on the disk.

        A mount point stays as it is if the archive has nothing in it: most likely nothing was mounted there then.
        """
        entry = self.entries.get(name)
        archived = self._children.get(name, ())
        if entry is not None and entry.type != "dir":
            raise _not_exchangeable(name, live, f"contains a mount point, and is a {entry.type} in the archive")
        if live in self.mounts and not archived:
            self.untouched.append(name)
            return
        if live in self.mounts and is_read_only(live):
            self.untouched.append(name)
            self.read_only.append(name)
            return
        self.staying.append(StayingDirectory(name=name, live=live, entry=entry))
        for child in sorted({*archived, *os.listdir(live)}):
            below = name + b"/" + child
            if child.startswith(STAGING_PREFIX.encode()):
                continue
            if below not in self.entries and below in self._left_out:
                self.untouched.append(below)
            else:
                self._add(below, os.path.join(live, child))

    def _leave_file(self, name: bytes, live: bytes) -> None:
        """Leave a file that is a mount point in place; refuse if the archive has another content for it."""
        entry = self.entries.get(name)
        if entry is not None and not _has_content(live, entry):
            raise _not_exchangeable(name, live, "is a mount point, and its content differs from the archive's")
        self.untouched.append(name)

    @functools.cached_property
    def _children(self) -> dict[bytes, list[bytes]]:
        children: dict[bytes, list[bytes]] = {}
        for name in self.entries:
            parent, _, child = name.rpartition(b"/")
            children.setdefault(parent, []).append(child)
        return children

    @functools.cached_property
    def _left_out(self) -> Collection[bytes]:
        return frozenset(self.left_out())


def _has_content(live: bytes, entry: Entry) -> bool:
    if entry.type != "file":
        return False
    with open(live, "rb") as file:
        return has_content(file.fileno(), entry)


def _not_exchangeable(name: bytes, live: bytes, why: str) -> RefusedError:
    return RefusedError(
        f"{printable(name)!r} {why}: it cannot be replaced",
        where=os.fsdecode(live),
        hint=f"umount {quoted(os.fsdecode(live))}",
    )


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
    return live


def _staging_beside(live: bytes, project: Path, token: str) -> bytes:
    """Return a staging directory in the mount of the live path: in the project if possible, else beside it."""
    parent = os.path.dirname(live)
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    top = os.fsencode(project)
    home = top if on_same_mount(top, parent) else parent
    return os.path.join(home, os.fsencode(STAGING_PREFIX + token))
