"""Moves the old part of a log, which a process is still writing, into an archive without losing a line.

The archive gets the first complete lines; then exactly their blocks are cut out of the live file with
FALLOC_FL_COLLAPSE_RANGE (fallocate(2); ext4 and XFS). Lines appended meanwhile stay, so that, unlike with
logrotate's copytruncate, there is no moment at which a line can be lost. A cut is at a block boundary, not at a line:
the already archived part of the first remaining block is overwritten by blanks and one newline, the filler.

If the file system does not support that (tmpfs, overlay, btrfs), the file is copied and truncated, and lines written
between the two are lost; `RotationRecord.lossless` is then False.

Others may truncate, copy, move or replace the file at any time. So what was noted about a content is only used while
the file still begins with it: a filler counts if it is there.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import tzinfo
from pathlib import Path
from typing import BinaryIO

import msgspec

from toombos_cli.base import locks
from toombos_cli.base.errors import OperationError
from toombos_cli.base.files import replace_file
from toombos_cli.base.own_records import encode_own, read_own
from toombos_cli.base.plain_files import UPDATE, open_plain, open_plain_file, read_plain
from toombos_cli.base.untrusted import UntrustedError
from toombos_cli.logs.archives import SHORTEST_FILLER, own_archives
from toombos_cli.logs.cutting import collapse, copy_range, end_of_lines, filler
from toombos_cli.logs.foreign_copies import copies_now, has_copy_of, is_being_copied, set_right
from toombos_cli.manifest.tables.logs import Logs

_DAY_S = 86_400
_CLOCKS_DIFFER_S = 1.0
_COMPARED_BYTES = 4096


class RotationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How the live log relates to what was written before, seen as a stream of bytes counted from 0.

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
    """A log, its archives `NAME.log.YYYYMMDDTHHMMSS.mmm[.gz]` beside it, and the record of its cuts.

    `elsewhere` are open files to which a service still writes what belongs here, because the log was moved or removed.
    `zone` is that of the times without one in its lines, None for local time.
    """

    def __init__(
        self, path: Path, record_path: Path, *, elsewhere: tuple[Path, ...] = (), zone: tzinfo | None = None
    ) -> None:
        self.path = path
        self.elsewhere = elsewhere
        self.zone = zone
        self._record_path = record_path
        self._lock_path = record_path.with_suffix(".rotation-lock")

    @contextmanager
    def reading(self) -> Iterator[RotationRecord]:
        """Yield the record, which does not change while the caller reads the file.

        Raise OperationError if this user may not read it, or if a rotation does not finish.
        """
        started = self._lock_path.parent.is_dir()  # else nothing rotates, and looking creates nothing
        try:
            with locks.share(self._lock_path) if started else nullcontext():
                yield self.record()
        except (PermissionError, IsADirectoryError) as error:
            raise OperationError(f"cannot be read: {error.strerror}", where=str(error.filename)) from None
        except TimeoutError:
            raise OperationError("cannot be read: its rotation does not finish", where=str(self.path)) from None

    def record(self) -> RotationRecord:
        """Return the current record, an empty one if there was no rotation or it cannot be read.

        If the file does not begin with the filler, it was truncated or replaced: it has another content, without one.
        """
        record = self._recorded()
        if record.blank and not self._begins_with(filler(record.blank)):
            return msgspec.structs.replace(record, blank=0)
        return record

    def archives(self) -> tuple[Path, ...]:
        """Return the finished archives of toombos, oldest first, each once even while it is being compressed."""
        return own_archives(self.path)

    def note_beginning(self, now: float) -> None:
        """Record when a log without a record started: every write changes all times of its file."""
        if not self._record_path.exists() and self.path.exists():
            self._write(RotationRecord(rotated_at=now))

    def is_due(self, record: RotationRecord, size_bytes: float, settings: Logs, now: float) -> bool:
        """Return whether size or date require a rotation; an empty log is never rotated."""
        size_bytes -= record.blank
        if size_bytes >= settings.max_mb * 1_000_000:
            return True
        another_day = int(record.rotated_at // _DAY_S) != int(now // _DAY_S)
        return settings.daily and size_bytes > 0 and record.rotated_at > 0 and another_day

    def rotate(self, settings: Logs, now: float) -> Path | None:
        """Archive all complete lines. Return the new archive, or None if there was no line, or if others rotate it now.

        A last line that alone exceeds the maximum size of a log is cut in two: output without line ends must not fill
        the disk. Raise OSError, for example if the disk is full; the log is then unchanged.
        """
        self.recover()
        with os.fdopen(open_plain(self.path, UPDATE), "r+b") as live:
            return self._archive(live, now, settings.max_mb * 1_000_000)

    def prune(self, settings: Logs) -> None:
        """Remove the oldest archives."""
        for old in self.archives()[: -settings.keep]:
            old.unlink(missing_ok=True)

    def recover(self) -> None:
        """Finish or undo a rotation that a crash interrupted."""
        record = self._recorded()
        if not record.pending:
            return
        part = self.path.with_name(f"{record.pending}.part")
        self._needs_directory()
        with locks.hold(self._lock_path):
            if not part.exists() or self._holds(record, part):
                part.unlink(missing_ok=True)
                self._write(msgspec.structs.replace(record, pending="", cut=0, next_blank=0))
            elif any(map(self._begins_with, (_remainder(record, part), filler(record.next_blank)))):
                with os.fdopen(open_plain(self.path, UPDATE), "r+b") as live:
                    self._finish(live.fileno(), part, record)
            else:
                self._keep_old_content(part, record)

    def _archive(self, live: BinaryIO, now: float, longest_line: int) -> Path | None:
        record, fd = self.record(), live.fileno()
        size = os.fstat(fd).st_size
        if size - record.blank < longest_line:
            end = end_of_lines(fd, record.blank)
        elif (end := end_of_lines(fd, size - longest_line)) == size - longest_line:
            end = size
        if end <= record.blank or self._is_being_copied(fd, record.blank, now):
            return None
        cut = _bytes_to_cut(end, os.fstatvfs(fd).f_bsize)
        name = _archive_name(self.path, now)
        part = self.path.with_name(f"{name}.part")
        record = msgspec.structs.replace(record, pending=name, cut=cut, next_blank=end - cut, rotated_at=now)
        try:
            copy_range(fd, part, record.blank, end)
            if _is_of_new_content(fd, part, record.blank, end):
                part.unlink()
                return None
            self._write(record)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        self._needs_directory()
        with locks.hold(self._lock_path):
            os.fdatasync(fd)  # or else the cut would take long, in which others may begin a copy
            known = copies_now(self.path)
            if not self._holds(record, part):
                return self._keep_old_content(part, record, fd)
            if self._is_being_copied(fd, record.blank, now):
                part.unlink()
                self._write(msgspec.structs.replace(record, pending="", cut=0, next_blank=0))
                return None
            if cut and not collapse(fd, cut):
                if os.fstat(fd).st_size <= cut:  # truncated by others in this very moment
                    return self._keep_old_content(part, record, fd)
                return self._truncate(fd, part, record, end)
            archive, blank = self._finish(fd, part, record)
            truncated = blank != record.next_blank or os.fstat(fd).st_size < size - cut
            left = set_right(fd, self.path, archive, blank, record.blank, known, is_truncated=truncated)
            return archive if left else None

    def _keep_old_content(self, part: Path, record: RotationRecord, fd: int | None = None) -> Path | None:
        """Archive the content that others have removed from the log `fd`, unless they have moved it or kept a copy."""
        archive: Path | None = part.with_suffix("")
        newer_than = record.rotated_at - _CLOCKS_DIFFER_S
        if (fd is not None and self._is_moved(fd, part, record)) or has_copy_of(
            self.path, read_plain(part, None), record.blank, newer_than=newer_than
        ):
            part.unlink()
            archive = None
        else:
            part.rename(part.with_suffix(""))
        self._write(msgspec.structs.replace(record, blank=0, pending="", cut=0, next_blank=0))
        return archive

    def _is_moved(self, fd: int, part: Path, record: RotationRecord) -> bool:
        """Report whether the file has another name now and still has what the archive has."""
        try:
            if os.path.samestat(os.fstat(fd), self.path.stat()):
                return False
        except OSError:
            pass  # there is no new log yet
        return os.fstat(fd).st_nlink > 0 and _has(fd, record.blank, part)

    def _finish(self, fd: int, part: Path, record: RotationRecord) -> tuple[Path, int]:
        """Blank what is archived at the head of the file that was cut, which others may have moved by now.

        Return the archive, and the length of the blank part: 0 if others have truncated the file since the cut.
        """
        blank = record.next_blank
        if os.pread(fd, blank, 0) in (_remainder(record, part), filler(blank)):
            os.pwrite(fd, filler(blank), 0)
        else:
            blank = 0
        archive = part.with_suffix("")
        part.rename(archive)
        done = msgspec.structs.replace(record, base=record.base + record.cut, blank=blank)
        self._write(msgspec.structs.replace(done, pending="", cut=0, next_blank=0))
        return archive, blank

    def _truncate(self, fd: int, part: Path, record: RotationRecord, end: int) -> Path:
        """Copy what was written meanwhile and truncate; lines written in between are lost."""
        size = os.fstat(fd).st_size
        copy_range(fd, part, end, size)
        record = msgspec.structs.replace(record, cut=size, next_blank=0, lossless=False)
        self._write(record)
        os.ftruncate(fd, 0)
        return self._finish(fd, part, record)[0]

    def _holds(self, record: RotationRecord, part: Path) -> bool:
        """Report whether the live file still has, before the cut, all that the archive has.

        Its head and its end are compared: a file is only appended to, truncated or replaced.
        """
        try:
            with open_plain_file(self.path) as live:
                return _has(live.fileno(), record.blank, part)
        except OSError:
            return False

    def _is_being_copied(self, fd: int, blank: int, now: float) -> bool:
        return is_being_copied(self.path, os.pread(fd, _COMPARED_BYTES, blank), blank, now)

    def _recorded(self) -> RotationRecord:
        try:
            return read_own(self._record_path, RotationRecord)
        except (OSError, UntrustedError):
            return RotationRecord()

    def _begins_with(self, content: bytes) -> bool:
        try:
            with open_plain_file(self.path) as live:
                return os.pread(live.fileno(), len(content), 0) == content
        except OSError:
            return False

    def _needs_directory(self) -> None:
        """Raise FileNotFoundError if the directory of the records is gone, as when the project was moved just now."""
        self._record_path.parent.stat()

    def _write(self, record: RotationRecord) -> None:
        self._needs_directory()
        replace_file(self._record_path, encode_own(record), durable=True)


def _bytes_to_cut(end: int, block: int) -> int:
    """Return how many bytes to cut so that the lines before `end` go.

    Never the whole file, because COLLAPSE_RANGE must end before the file does, and so that the filler is long enough to
    be recognized, if the lines are.
    """
    cut = (end - 1) // block * block
    return cut - block if cut and end - cut < SHORTEST_FILLER else cut


def _ends(part: Path) -> tuple[bytes, bytes, int]:
    """Return the first and the last bytes of an archive, and its length."""
    with open_plain_file(part) as archived:
        length = os.fstat(archived.fileno()).st_size
        count = min(_COMPARED_BYTES, length)
        return os.pread(archived.fileno(), count, 0), os.pread(archived.fileno(), count, length - count), length


def _has(fd: int, blank: int, part: Path) -> bool:
    """Report whether a file has, after its filler, the first and the last bytes of an archive at their places."""
    head, tail, length = _ends(part)
    at_end = os.pread(fd, len(tail), blank + length - len(tail))
    return os.pread(fd, len(head), blank) == head and at_end == tail


def _is_of_new_content(fd: int, part: Path, blank: int, end: int) -> bool:
    """Report whether others have truncated the log before it was copied: what the archive has is still in the log."""
    if part.stat().st_size < end - blank:
        return True
    return os.pread(fd, blank, 0) != filler(blank) and _has(fd, blank, part)


def _remainder(record: RotationRecord, part: Path) -> bytes:
    """Return what is at the head of the live file after the cut and before the filler is written."""
    with open_plain_file(part) as archived:
        length = os.fstat(archived.fileno()).st_size
        count = min(record.next_blank, length)
        rest = os.pread(archived.fileno(), count, length - count)
    return filler(record.blank)[record.cut :] + rest if count < record.next_blank else rest


def _archive_name(path: Path, now: float) -> str:
    import time

    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
    return f"{path.name}.{moment}.{int(now * 1000) % 1000:03}"
