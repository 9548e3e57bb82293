"""Reads files of a live system into an archive, exactly as many bytes of each as its header declares."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from toombos_cli.backup.archive.attributes import has_capabilities
from toombos_cli.backup.archive.format import DatabaseRecord, Entry, EntryType, Extents, named, timed
from toombos_cli.backup.archive.holes import find_extents, may_have_holes, read_extents
from toombos_cli.backup.archive.writer import ArchiveWriter
from toombos_cli.backup.inode_flags import flags_of, read_flags
from toombos_cli.backup.observer import BackupObserver
from toombos_cli.backup.selection import Found
from toombos_cli.base.sqlite_files import COMPANIONS

_CHUNK_BYTES = 1 << 20
_WHOLE_BYTES = 1 << 20  # a file up to this size is read at once, and read again if it changed meanwhile
_TRIES = 3
_NO_NAMES = {"path": "", "path_b64": b"", "link": "", "link_b64": b""}


@dataclass(slots=True)
class Intake:
    """Adds found files to the archive. A file that cannot be read is recorded, and the backup continues."""

    writer: ArchiveWriter
    observer: BackupObserver
    unreadable: dict[bytes, str] = field(default_factory=dict)
    left_out: dict[bytes, str] = field(default_factory=dict)
    first_names: dict[tuple[int, int], Entry] = field(default_factory=dict)

    def add(self, found: Found) -> Entry | None:
        """Add a file and return its entry, or None if it could not be read."""
        if found.type == "dir":
            return self.writer.add(make_entry(found, found.status, "dir", flags=flags_of(found.path)))
        try:
            if found.type == "symlink":
                return self.writer.add(make_entry(found, found.status, "symlink", target=os.readlink(found.path)))
            if found.type == "fifo":
                return self.writer.add(make_entry(found, found.status, "fifo"))
            fd = os.open(found.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            self.left_out[found.name] = "vanished while the backup ran"
            return None
        except OSError as error:
            self.unreadable[found.name] = error.strerror or str(error)
            return None
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                self.left_out[found.name] = "is no longer a regular file"
                return None
            return self._add_file(found, fd, status)
        finally:
            os.close(fd)

    def _add_file(self, found: Found, fd: int, status: os.stat_result) -> Entry | None:
        """Add an open file; a file that has several names is read once, and its other names refer to the first."""
        inode = status.st_dev, status.st_ino
        first = self.first_names.get(inode)
        if first is not None:
            names = _NO_NAMES | named(found.name, first.name)
            return self.writer.add(msgspec.structs.replace(first, **names))
        data = find_extents(fd, status.st_size) if self.writer.can_hold_holes and may_have_holes(status) else None
        if data is None and status.st_size <= _WHOLE_BYTES:
            entry = self._whole(found, fd, status)
        else:
            entry = self._stream(found, fd, status, data)
        if entry and status.st_nlink > 1:
            self.first_names[inode] = entry
        return entry

    def add_snapshot(self, found: Found, copy: Path, facts: DatabaseRecord) -> None:
        """Add a database's snapshot under the live file's name, mode and time."""
        with copy.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            entry = make_entry(found, found.status, "file", size=size)
            self.writer.add(msgspec.structs.replace(entry, database=facts), self._read_to_end(file))

    def add_raw_database(self, found: Found, facts: DatabaseRecord) -> None:
        """Add the files of a malformed database unchanged."""
        if self.add(found) is not None:
            self.writer.attach(facts)
        for suffix in COMPANIONS:
            path = found.path + suffix
            if os.path.isfile(path):
                self.add(Found(name=found.name + suffix, path=path, status=os.lstat(path), type="file"))

    def _read_to_end(self, file: BinaryIO) -> Iterator[bytes]:
        while chunk := file.read(_CHUNK_BYTES):
            self.observer.advance(len(chunk))
            yield chunk

    def _whole(self, found: Found, fd: int, after: os.stat_result) -> Entry | None:
        for _ in range(_TRIES):
            before = after
            try:
                content = os.pread(fd, before.st_size, 0)
            except OSError as error:
                self.unreadable[found.name] = error.strerror or str(error)
                return None
            after = os.fstat(fd)
            unchanged = (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)
            if unchanged and len(content) == before.st_size:
                break
        flags = (*_inode_flags(fd, before), *(() if unchanged else ("changed",)))
        self.observer.advance(len(content))
        entry = make_entry(found, before, "file", size=len(content), flags=flags)
        return self.writer.add(entry, (content,))

    def _stream(self, found: Found, fd: int, status: os.stat_result, data: Extents | None) -> Entry:
        """Add a large file: its prefix if it grows meanwhile; padded with zeros and flagged if it shrinks."""
        read = 0

        def chunks() -> Iterator[bytes]:
            nonlocal read
            try:
                for chunk in read_extents(fd, entry.stored):
                    read += len(chunk)
                    self.observer.advance(len(chunk))
                    yield chunk
            except OSError as error:
                self.unreadable[found.name] = error.strerror or str(error)
            for start in range(read, entry.content_bytes, _CHUNK_BYTES):
                yield bytes(min(_CHUNK_BYTES, entry.content_bytes - start))

        entry = make_entry(found, status, "file", size=status.st_size, flags=_inode_flags(fd, status))
        entry = msgspec.structs.replace(entry, data=data)
        entry = self.writer.add(entry, chunks())
        if read < entry.content_bytes:
            entry = self.writer.flag_last("shrunk")
        return entry


def _inode_flags(fd: int, status: os.stat_result) -> tuple[str, ...]:
    """Return the flags of an open file that a restore sets again or reports."""
    flags = read_flags(fd)
    if status.st_mode & 0o111 and has_capabilities(fd):
        flags = (*flags, "capabilities")
    return flags


def make_entry(
    found: Found,
    status: os.stat_result,
    kind: EntryType,
    *,
    size: int = 0,
    flags: tuple[str, ...] = (),
    target: bytes = b"",
) -> Entry:
    """Return an entry with the mode, owner and times of `status`. The writer adds the checksum."""
    return Entry(
        **named(found.name, target),
        type=kind,
        size=size,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        **timed(status.st_mtime_ns),
        flags=flags,
        xattrs=found.xattrs,
    )
