"""Moves the old part of a log, which a process is still writing, into an archive without losing a line.

The archive gets the first complete lines; then exactly their blocks are cut out of the live file with
FALLOC_FL_COLLAPSE_RANGE (fallocate(2); ext4 and XFS). Lines appended meanwhile stay, so that, unlike with
logrotate's copytruncate, there is no moment at which a line can be lost. A cut is at a block boundary, not at a line:
the already archived part of the first remaining block is overwritten by blanks and one newline.

If the file system does not support that (tmpfs, overlay, btrfs), the file is copied and truncated, and lines written
between the two are lost; `Record.lossless` is then False.
"""

import ctypes
import errno
import gzip
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from toombos_cli.base import locks
from toombos_cli.base.errors import OperationError
from toombos_cli.base.files import replace_file, replacing
from toombos_cli.base.plain_files import APPEND, UPDATE, open_plain, open_plain_file, read_plain
from toombos_cli.base.untrusted import UntrustedError, decode_file
from toombos_cli.manifest.tables.logs import Logs

_FALLOC_FL_COLLAPSE_RANGE = 0x08
_CHUNK_BYTES = 1024 * 1024
_DAY_S = 86_400
_GZIP_LEVEL = 4  # text shrinks by nine tenths at any level; this takes a third of the time of level 9


class RotationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How the live log relates to everything ever written, seen as a stream of bytes counted from 0.

    Byte `b` of the live file is byte `base + b` of the stream. The first `blank` bytes of the live file are filler:
    their content is in the archive. `pending` names an archive that was written but whose cut may be incomplete; `cut`
    is the number of bytes that the cut removes.
    """

    base: int = 0
    blank: int = 0
    rotated_at: float = 0.0
    lossless: bool = True
    pending: str = ""
    cut: int = 0
    next_blank: int = 0


class LogFile:
    """A service's log, its archives `NAME.log.YYYYMMDDTHHMMSS.mmm[.gz]` beside it, and the record of its cuts."""

    def __init__(self, path: Path, record_path: Path) -> None:
        self.path = path
        self._record_path = record_path
        self._lock_path = record_path.with_suffix(".rotation-lock")

    @contextmanager
    def reading(self) -> Iterator[RotationRecord]:
        """Yield the record, which does not change while the caller reads the file.

        Raise OperationError if this user may not read it, or if a rotation does not finish.
        """
        if not self._lock_path.parent.is_dir():  # never started, so nothing rotates: looking creates nothing
            yield self.record()
            return
        try:
            with locks.share(self._lock_path):
                yield self.record()
        except PermissionError as error:
            raise OperationError(f"cannot be read: {error.strerror}", where=str(error.filename)) from None
        except TimeoutError:
            raise OperationError("cannot be read: its rotation does not finish", where=str(self.path)) from None

    def record(self) -> RotationRecord:
        """Return the current record, or an empty one if there was no rotation or it cannot be read."""
        try:
            return decode_file(self._record_path, RotationRecord)
        except (OSError, UntrustedError):
            return RotationRecord()

    def archives(self) -> tuple[Path, ...]:
        """Return the finished archives, oldest first, each once even while it is being compressed."""
        found = sorted(
            p for p in self.path.parent.glob(f"{self.path.name}.????????T??????.???*") if p.suffix != ".part"
        )
        return tuple({p.name.removesuffix(".gz"): p for p in reversed(found)}.values())[::-1]

    def note_beginning(self, now: float) -> None:
        """Record when a log without a record started: every write changes all times of its file."""
        if not self._record_path.exists() and self.path.exists():
            self._write(RotationRecord(rotated_at=now))

    def is_due(self, settings: Logs, now: float) -> bool:
        """Return whether size or date require a rotation; an empty log is never rotated."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        record = self.record()
        size_bytes = found.st_size - record.blank
        if size_bytes >= settings.max_mb * 1_000_000:
            return True
        another_day = int(record.rotated_at // _DAY_S) != int(now // _DAY_S)
        return settings.daily and size_bytes > 0 and record.rotated_at > 0 and another_day

    def rotate(self, settings: Logs, now: float) -> Path | None:
        """Archive all complete lines, prune and compress. Return the new archive, or None if there was no line.

        A last line that alone exceeds the maximum size of a log is cut in two: output without line ends must not fill
        the disk. Raise OSError, for example if the disk is full; the log is then unchanged.
        """
        self.recover()
        with os.fdopen(open_plain(self.path, UPDATE), "r+b") as live:
            archive = self._archive(live, now, settings.max_mb * 1_000_000)
        self._tidy(settings)
        return archive

    def recover(self) -> None:
        """Finish or undo a rotation that a crash interrupted."""
        record = self.record()
        if not record.pending:
            return
        part = self.path.with_name(f"{record.pending}.part")
        with locks.hold(self._lock_path):
            if part.exists() and self._is_cut(part, record):
                self._finish(part, record)
            else:
                part.unlink(missing_ok=True)
                self._write(msgspec.structs.replace(record, pending="", cut=0, next_blank=0))

    def _archive(self, live: BinaryIO, now: float, longest_line: int) -> Path | None:
        record = self.record()
        size = os.fstat(live.fileno()).st_size
        if size - record.blank < longest_line:
            end = _end_of_lines(live.fileno(), record.blank)
        elif (end := _end_of_lines(live.fileno(), size - longest_line)) == size - longest_line:
            end = size
        if end <= record.blank:
            return None
        block = os.fstatvfs(live.fileno()).f_bsize
        name = _archive_name(self.path, now)
        part = self.path.with_name(f"{name}.part")
        cut = (end - 1) // block * block  # never the whole file: COLLAPSE_RANGE must end before the file does
        record = msgspec.structs.replace(record, pending=name, cut=cut, next_blank=end - cut, rotated_at=now)
        try:
            _copy(live.fileno(), part, record.blank, end)
            self._write(record)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        with locks.hold(self._lock_path):
            if cut and not _collapse(live.fileno(), cut):
                return self._truncate(live, part, record, end)
            return self._finish(part, record)

    def _finish(self, part: Path, record: RotationRecord) -> Path:
        with os.fdopen(open_plain(self.path, UPDATE), "r+b") as live:
            os.pwrite(live.fileno(), _filler(record.next_blank), 0)
        archive = part.with_suffix("")
        part.rename(archive)
        done = msgspec.structs.replace(record, base=record.base + record.cut, blank=record.next_blank)
        self._write(msgspec.structs.replace(done, pending="", cut=0, next_blank=0))
        return archive

    def _truncate(self, live: BinaryIO, part: Path, record: RotationRecord, end: int) -> Path:
        """Copy what was written meanwhile and truncate; lines written in between are lost."""
        size = os.fstat(live.fileno()).st_size
        _copy(live.fileno(), part, end, size)
        record = msgspec.structs.replace(record, cut=size, next_blank=0, lossless=False)
        self._write(record)
        os.ftruncate(live.fileno(), 0)
        return self._finish(part, record)

    def _is_cut(self, part: Path, record: RotationRecord) -> bool:
        """Return whether the cut was made: the live file no longer starts with the content of the archive."""
        with open_plain_file(part) as archived, open_plain_file(self.path) as live:
            live.seek(record.blank)
            while chunk := archived.read(_CHUNK_BYTES):
                if live.read(len(chunk)) != chunk:
                    return True
        return False

    def _tidy(self, settings: Logs) -> None:
        """Remove the oldest archives and compress all but the newest, which a follower may still be reading."""
        archives = self.archives()
        for old in archives[: -settings.keep]:
            old.unlink(missing_ok=True)
        for archive in archives[-settings.keep : -1] if settings.compress else ():
            if archive.suffix != ".gz":
                _compress(archive)

    def _write(self, record: RotationRecord) -> None:
        replace_file(self._record_path, msgspec.json.encode(record), durable=True)


def archive_content(archive: Path) -> bytes:
    """Return the content of an archive, even if it was compressed since it was listed; b"" if it was pruned."""
    packed = archive if archive.suffix == ".gz" else archive.with_name(f"{archive.name}.gz")
    try:
        return read_plain(archive, None) if packed != archive else gzip.decompress(read_plain(packed, None))
    except FileNotFoundError:
        return gzip.decompress(read_plain(packed, None)) if packed.exists() else b""


def end_of_lines(path: Path, start: int) -> int:
    """Return the offset after the file's last newline at or after `start`, or `start` if there is none, or no file."""
    try:
        with open_plain_file(path) as file:
            return _end_of_lines(file.fileno(), start)
    except FileNotFoundError:
        return start


def _end_of_lines(fd: int, start: int) -> int:
    position = os.fstat(fd).st_size
    while position > start:
        begin = max(start, position - _CHUNK_BYTES)
        found = os.pread(fd, position - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        position = begin
    return start


def _copy(fd: int, target: Path, start: int, end: int) -> None:
    """Append bytes [start, end) to the private file `target` and flush them to disk."""
    out = open_plain(target, APPEND)
    try:
        while start < end:
            start += os.write(out, os.pread(fd, min(_CHUNK_BYTES, end - start), start))
        os.fsync(out)
    finally:
        os.close(out)


def _filler(size: int) -> bytes:
    return b" " * (size - 1) + b"\n" if size else b""


def _collapse(fd: int, size: int) -> bool:
    """Cut the first `size` bytes, whole blocks, out of the file. Return False if the file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "fallocate"):
        return False
    arguments = (ctypes.c_int(_FALLOC_FL_COLLAPSE_RANGE), ctypes.c_int64(0), ctypes.c_int64(size))
    if libc.fallocate(fd, *arguments) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(number, os.strerror(number))


def _compress(archive: Path) -> None:
    """Replaces the archive by its .gz; a crash leaves the one or the other whole."""
    packed = archive.with_name(f"{archive.name}.gz")
    with (
        open_plain_file(archive) as source,
        replacing(packed, durable=True) as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=_GZIP_LEVEL) as target,
    ):
        shutil.copyfileobj(source, target, _CHUNK_BYTES)
    archive.unlink()


def _archive_name(path: Path, now: float) -> str:
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
    return f"{path.name}.{moment}.{int(now * 1000) % 1000:03}"
