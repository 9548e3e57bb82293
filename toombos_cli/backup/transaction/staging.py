"""Unpacks an archive beside the live tree and checks the result on disk; touches only the staging directory."""

import os
import shutil
import stat
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from toombos_cli.backup.archive.attributes import ACCESS_ACL, apply_attributes, read_attributes, rights_of_group
from toombos_cli.backup.archive.format import Entry, Extents, is_far, timed
from toombos_cli.backup.archive.holes import has_content
from toombos_cli.backup.archive.reader import Archive
from toombos_cli.backup.archive.safety import is_within
from toombos_cli.backup.databases import judge
from toombos_cli.backup.durable import can_sync_filesystem, sync_filesystem
from toombos_cli.backup.errors import BadArchiveError
from toombos_cli.backup.inode_flags import FLAG_NAMES, set_flags
from toombos_cli.backup.observer import BackupObserver
from toombos_cli.backup.postgres import DUMP_NAME
from toombos_cli.backup.reports import NotSet
from toombos_cli.backup.transaction.targets import below_one
from toombos_cli.base.directories import sync_directory
from toombos_cli.base.text import printable

_HOLE_BYTES = 1 << 16
_MANY_FILES = 100  # from this number, one sync of the file system is cheaper than one per file
_NO_DATA = bytes(_HOLE_BYTES)


@dataclass(slots=True)
class StagingArea:
    """The place where members are unpacked: `places` maps unit names in the archive to staged paths.

    `not_set` are the owners and attributes that could not be set so far.
    """

    archive: Archive
    places: Mapping[bytes, bytes]
    observer: BackupObserver
    not_set: list[NotSet] = field(default_factory=list)
    _directories: list[tuple[bytes, Entry]] = field(default_factory=list)

    def unpack(self) -> None:
        """Write every wanted member and read it back. Raise BadArchiveError; the caller removes the staging."""
        self.observer.step("unpack", self.archive.tail.data_bytes)
        checks: deque[Future[None]] = deque()
        orphans = self._orphans()
        pool = ThreadPoolExecutor(2, thread_name_prefix="check")
        try:
            for entry, pieces in self.archive.members():
                path = self.path_of(entry.name)
                if entry.name in orphans:
                    self._write_file(orphans[entry.name], entry, pieces)
                    self._check_file(orphans[entry.name], entry)
                elif path is None:
                    self._pass_over(pieces)
                elif entry.type == "file" and entry.target:
                    self._add_name(path, entry, orphans)
                elif entry.type == "file":
                    self._write_file(path, entry, pieces)
                    checks.append(pool.submit(self._check_file, path, entry))
                    while checks and checks[0].done():  # many results would take more memory than the files' entries
                        checks.popleft().result()
                else:
                    self._make(path, entry)
            self.observer.step("check")
            for check in checks:
                check.result()
        finally:
            pool.shutdown(cancel_futures=True)
        self._sync_at_once()
        self._check_databases()

    def _orphans(self) -> dict[bytes, bytes]:
        """Return the first names of files of which only other names are restored, and where each waits for them."""
        orphans: dict[bytes, bytes] = {}
        for entry in self.archive.manifest.entries:
            path = self.path_of(entry.name) if entry.type == "file" and entry.target else None
            if path and self.path_of(entry.target) is None:
                beside = next(staged for staged in self.places.values() if is_within(path, staged))
                orphans.setdefault(entry.target, os.path.dirname(beside) + b"/.name-%d" % len(orphans))
        return orphans

    def _add_name(self, path: bytes, entry: Entry, orphans: dict[bytes, bytes]) -> None:
        """Give a file a further name; one on another file system becomes a file of its own."""
        first = self.path_of(entry.target)
        if first is None:
            first = orphans[entry.target]
        try:
            os.link(first, path, follow_symlinks=False)
        except OSError:
            shutil.copyfile(first, path)
            self._check_file(path, entry)

    def path_of(self, name: bytes) -> bytes | None:
        """Return where a member is staged, or None if it is not wanted."""
        return below_one(name, self.places)

    def set_flags(self) -> None:
        """Make files immutable or append-only again; a path that is exchanged as a whole could not be moved then."""
        exchanged = set(self.places)
        for entry in self.archive.manifest.entries:
            flags = FLAG_NAMES.intersection(entry.flags)
            path = self.path_of(entry.name) if flags else None
            if path is None:
                continue
            reason = "it was replaced as a whole"
            if entry.name not in exchanged:
                try:
                    set_flags(path, flags)
                except OSError as error:
                    reason = error.strerror or str(error)
                else:
                    continue
            for flag in sorted(flags):
                self.not_set.append(NotSet(path=printable(entry.name), what=f"the {flag} flag", reason=reason))

    def bytes_in(self, directory: bytes) -> int:
        """Return the size of what is unpacked in a staging directory, without files that have holes."""
        staged = ((entry, self.path_of(entry.name)) for entry in self.archive.manifest.entries)
        return sum(
            e.content_bytes for e, path in staged if path and is_within(path, directory) and "sparse" not in e.flags
        )

    def finish_directories(self) -> None:
        """Set the modes and times of directories, deepest first, after all their content is in place."""
        for path, entry in reversed(self._directories):
            self._describe(path, entry)
            if not self._at_once:
                sync_directory(path)
        self._sync_at_once()

    @property
    def _at_once(self) -> bool:
        return self.archive.tail.files >= _MANY_FILES and can_sync_filesystem()

    def _sync_at_once(self) -> None:
        """Make many files durable with one call per directory."""
        if self._at_once:
            for directory in {os.path.dirname(path) for path in self.places.values()}:
                sync_filesystem(directory)

    def _make(self, path: bytes, entry: Entry) -> None:
        if entry.type == "dir":
            os.mkdir(path, 0o700)
            self._directories.append((path, entry))
        elif entry.type == "fifo":
            os.mkfifo(path, 0o600)
            self._describe(path, entry)
        else:
            os.symlink(entry.target, path)
            self._describe(path, entry)

    def _write_file(self, path: bytes, entry: Entry, pieces: Iterator[memoryview]) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            sparse = "sparse" in entry.flags
            if entry.data is not None:
                self._write_pieces(fd, entry.data, pieces)
            else:
                write = _write_around_holes if sparse else _write_all
                for piece in pieces:
                    write(fd, piece)
                    self.observer.advance(len(piece))
            if sparse or entry.data is not None:  # the file may end with a hole
                os.ftruncate(fd, entry.size)
        finally:
            os.close(fd)

    def _write_pieces(self, fd: int, data: Extents, pieces: Iterator[memoryview]) -> None:
        """Write each piece of data to its offset; what is between them stays a hole."""
        ahead, room = iter(data), 0
        for piece in pieces:
            while piece:
                if not room:
                    offset, room = next(ahead)
                    os.lseek(fd, offset, os.SEEK_SET)
                part = piece[:room]
                _write_all(fd, part)
                self.observer.advance(len(part))
                room -= len(part)
                piece = piece[len(part) :]

    def _check_file(self, path: bytes, entry: Entry) -> None:
        """Check that the file on disk matches the archive, then set its mode and time and make it durable."""
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            if not has_content(fd, entry):
                raise BadArchiveError(f"member {printable(entry.name)!r} has a different sha256")
            self._describe(path, entry)
            if not self._at_once:
                os.fsync(fd)
        finally:
            os.close(fd)

    def _describe(self, path: bytes, entry: Entry) -> None:
        for what, reason in apply_metadata(path, entry).items():
            self.not_set.append(NotSet(path=printable(entry.name), what=what, reason=reason))

    def _pass_over(self, pieces: Iterator[memoryview]) -> None:
        for piece in pieces:
            self.observer.advance(len(piece))

    def _check_databases(self) -> None:
        for entry in self.archive.manifest.entries:
            path = self.path_of(entry.name)
            is_file = entry.name != DUMP_NAME  # a server's dump is proven by restoring it
            if entry.database and path and is_file and entry.database.integrity == "ok":
                self.observer.step("check database")
                facts = judge(path)
                if (facts.integrity, facts.tables) != (entry.database.integrity, entry.database.tables):
                    raise BadArchiveError(
                        f"the restored database {printable(entry.name)!r} is not sound: {facts.integrity}",
                        where=str(self.archive.path),
                    )


def refused_bits(entry: Entry) -> dict[str, str]:
    """Return the reason for each right of a file that no restore sets; directories may hand on their group."""
    if entry.type != "file":
        return {}
    bits = ((stat.S_ISUID, "the setuid bit"), (stat.S_ISGID, "the setgid bit"))
    refused = [name for bit, name in bits if entry.mode & bit]
    if "capabilities" in entry.flags:
        refused.append("the file capabilities")
    return dict.fromkeys(refused, "never set on a restored file")


def apply_metadata(path: bytes, entry: Entry) -> dict[str, str]:
    """Set owner, extended attributes, mode and times of an entry, without following links.

    Return the reason for each owner, attribute or bit that the file system, the user's rights or safety do not allow.
    """
    refused = refused_bits(entry)
    status = os.lstat(path)
    if (status.st_uid, status.st_gid) != (entry.uid, entry.gid):
        try:
            os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        except OSError as error:  # EPERM for a user, EINVAL in a container that does not know the number
            refused[f"owner {entry.uid}:{entry.gid}"] = error.strerror or str(error)
    if entry.type != "symlink":
        refused |= apply_attributes(path, entry.xattrs)  # before the mode, as an ACL contains the group's bits
        mode = entry.mode & ~(stat.S_ISUID | stat.S_ISGID) if entry.type == "file" else entry.mode
        if ACCESS_ACL in refused:
            mode = mode & ~0o070 | rights_of_group(entry.xattrs[ACCESS_ACL]) << 3
        os.chmod(path, mode)
    when = entry.time_ns
    try:
        os.utime(path, ns=(when, when), follow_symlinks=False)
    except OSError as error:
        refused["time"] = error.strerror or str(error)
    else:
        if is_far(when) and os.lstat(path).st_mtime_ns != when:
            refused["time"] = "the file system cannot hold it"
    return refused


def entry_of(path: bytes) -> Entry:
    """Return the owner, mode, times and attributes of a directory on disk, as an archive describes them."""
    status = os.lstat(path)
    return Entry(
        type="dir",
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        **timed(status.st_mtime_ns),
        xattrs=read_attributes(path),
    )


def _write_all(fd: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(fd, piece) :]


def _write_around_holes(fd: int, piece: memoryview) -> None:
    """Seek over blocks of zeros, so that a sparse file stays sparse."""
    for start in range(0, len(piece), _HOLE_BYTES):
        block = piece[start : start + _HOLE_BYTES]
        if block == _NO_DATA[: len(block)]:
            os.lseek(fd, len(block), os.SEEK_CUR)
        else:
            _write_all(fd, block)
