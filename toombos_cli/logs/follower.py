"""Follows a growing log through rotations, also those of others; no line is missed or repeated."""

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from toombos_cli.base.plain_files import open_plain_file
from toombos_cli.logs.archives import archive_content, filler_at, older_parts, own_parts
from toombos_cli.logs.cutting import end_of_lines
from toombos_cli.logs.rotation import LogFile, RotationRecord

_READ_BYTES = 1024 * 1024
_REMEMBERED_BYTES = 256
_CLOCKS_DIFFER_S = 2.0
_MOST_MOVED = 8
_REMEMBERED_CONTENTS = 8
_HALF_MS = 0.0005


class _OpenLog:
    """An open file that is read as it grows. `seen` are the last bytes that were read."""

    def __init__(self, path: Path, *, follows_link: bool = False) -> None:
        self._file = path.open("rb", buffering=0) if follows_link else open_plain_file(path)
        found = os.fstat(self._file.fileno())
        self.inode = (found.st_dev, found.st_ino)
        self.offset = 0
        self.seen = b""
        self._rest = b""

    def go_to(self, offset: int, first: int) -> None:
        """Continue at this offset, at or after the first byte of the content."""
        self.offset = offset
        begin = max(first, offset - _REMEMBERED_BYTES)
        self.seen = os.pread(self._file.fileno(), offset - begin, begin)

    def head(self, first: int) -> bytes:
        """Return the first bytes of the content."""
        return os.pread(self._file.fileno(), _REMEMBERED_BYTES, first)

    @property
    def first_byte(self) -> int:
        """The offset after the filler."""
        return filler_at(self._file.fileno())

    def end_of_lines(self, start: int) -> int:
        """Return the offset after the last newline."""
        return end_of_lines(self._file.fileno(), start)

    def goes_on(self, offset: int, first: int) -> bool:
        """Report whether what was seen stands before this offset, as far as that is after the first byte."""
        if os.fstat(self._file.fileno()).st_size < offset:
            return False
        seen = self.seen[-(offset - first) :] if offset > first else b""
        return os.pread(self._file.fileno(), len(seen), offset - len(seen)) == seen

    def read(self) -> list[bytes]:
        """Return the lines that were completed since the last call, of at most about 1 MiB."""
        data = os.pread(self._file.fileno(), _READ_BYTES, self.offset)
        self.offset += len(data)
        return self.lines_of(data)

    def lines_of(self, data: bytes) -> list[bytes]:
        """Return the lines that this completes. A very long line is returned in parts."""
        self.seen = (self.seen + data)[-_REMEMBERED_BYTES:]
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) >= _READ_BYTES:
            lines.append(self._rest)
            self._rest = b""
        return lines

    def last_words(self) -> list[bytes]:
        """Return the unfinished last line, if any: it will not be finished here."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []

    def __del__(self) -> None:
        if hasattr(self, "_file"):  # else it could not be opened
            self._file.close()


class Follower:
    """Returns the new complete lines of a log, and of the files elsewhere to which a service still writes.

    `place` is the first unread byte, counted in the stream of everything ever written (see `RotationRecord`). A place
    is used only if the bytes before it are those that were read: others may have truncated or replaced the file.
    """

    def __init__(self, log: LogFile, *, from_end: bool = True) -> None:
        self._log = log
        self._moved = [stream for path in log.elsewhere if (stream := _opened(path, follows_link=True))]
        for stream in self._moved:
            stream.go_to(stream.end_of_lines(0) if from_end else 0, 0)
        self._polled_at = time.time()
        self._known_until = 0.0
        """The moment in the names of the archives of toombos until which all are finished and were read."""
        self._read: deque[tuple[bytes, int]] = deque(maxlen=_REMEMBERED_CONTENTS)
        """The first bytes of each content that the log has had, and how many bytes of it were read, the last one last.

        A rotation that waits for its turn may archive what others have truncated long ago.
        """
        with log.reading() as record:
            self._live = _opened(log.path)
            offset = record.blank
            if self._live is not None:
                offset = self._live.end_of_lines(record.blank) if from_end else record.blank
                self._live.go_to(offset, record.blank)
            self._note_place(record, offset)

    def poll(self) -> list[bytes]:
        """Return the lines, without newlines, completed since the last call; at most about 1 MiB of each file.

        A longer line is returned in parts. After a rotation, what was archived before it was read comes first.
        """
        lines = [line for stream in self._moved for line in stream.read()]
        with self._log.reading() as record:
            lines += self._after_a_move(record)
            if self._live is not None:
                offset = self.place - record.base
                if offset < record.blank or not self._live.goes_on(offset, record.blank):
                    lines += self._missed(self._live, record)
                    offset = record.blank
                self._live.offset = offset
                lines += self._live.read()
                self._note_place(record, self._live.offset)
        self._polled_at = time.time()
        return lines

    def _note_place(self, record: RotationRecord, offset: int) -> None:
        """Remember where to continue: at this offset of the file that the record describes."""
        self.place, self._base, self._blank = record.base + offset, record.base, record.blank
        at = int(record.rotated_at * 1000) / 1000  # as in the name of an archive
        self._known_until = at - _HALF_MS if record.pending else at + _HALF_MS
        head = self._live.head(record.blank) if self._live is not None else b""
        if self._read and head.startswith(self._read[-1][0]):
            self._read.pop()
        self._read.append((head, offset - record.blank))

    def _unread(self, archived: bytes) -> bytes:
        """Return what was not read of an archived content, which is known by its first bytes."""
        return archived[max((count for head, count in self._read if head and archived.startswith(head)), default=0) :]

    def _after_a_move(self, record: RotationRecord) -> list[bytes]:
        """Open the file that has the log's name now; go on reading the one that had it, as its writer may not know."""
        inode = _inode(self._log.path)
        if inode is None or (self._live is not None and inode == self._live.inode):
            return []
        before, self._live = self._live, _opened(self._log.path)
        lines: list[bytes] = []
        if before is not None and all(stream.inode != before.inode for stream in self._moved):
            lines = self._around_a_move(before)
            self._moved = [*self._moved, before][-_MOST_MOVED:]
        self.place = record.base + record.blank
        return lines

    def _around_a_move(self, before: _OpenLog) -> list[bytes]:
        """Return what was cut off the moved file since the last poll, then the rest of it, then what was cut later."""
        new = [part.content() for part in own_parts(self._log.path) if part.at > self._known_until]
        lines: list[bytes] = []
        head = self._read[-1][0]
        if new and head and new[0].startswith(head):
            cut, unread = new.pop(0), self.place - self._base - self._blank
            lines = before.lines_of(cut[unread:])
            before.offset = before.first_byte + max(0, unread - len(cut))
        return [*lines, *before.read(), *(line for content in new for line in self._unread(content).split(b"\n")[:-1])]

    def _missed(self, live: _OpenLog, record: RotationRecord) -> list[bytes]:
        """Return what was rotated away, by toombos or by others, before it was read here."""
        own = self._archived(live, record.base + record.blank - self.place)
        if own is not None:
            return live.lines_of(own)
        lines: list[bytes] = []
        for content in self._since_truncation(live, record.base - self._base):
            lines += [*live.lines_of(content), *live.last_words()]
        lines += live.last_words()
        live.seen = b""
        return lines

    def _archived(self, live: _OpenLog, missing: int) -> bytes | None:
        """Return the last `missing` bytes of toombos's archives, the newest of which ends where the log starts.

        Return None if they do not continue what was read, because others have truncated the log meanwhile.
        """
        parts: list[bytes] = []
        found = 0
        for archive in reversed(older_parts(self._log.path) if missing > 0 else ()):
            if found >= missing:
                break
            if archive.is_own:
                parts.insert(0, archive.content())
                found += len(parts[0])
        content = b"".join(parts)
        if not 0 < missing <= found:
            return None
        before = content[: found - missing][-_REMEMBERED_BYTES:]
        count = min(len(before), len(live.seen))
        return content[-missing:] if before[len(before) - count :] == live.seen[len(live.seen) - count :] else None

    def _since_truncation(self, live: _OpenLog, cut: int) -> Iterator[bytes]:
        """Yield what follows the last line read, in the copy or archive that has it, then all later archives.

        An archive of toombos begins after the filler that the log had, a copy has it. A copy may have been made after
        so many bytes were cut.
        """
        newer_than = self._polled_at - _CLOCKS_DIFFER_S
        recent = [archive for archive in older_parts(self._log.path) if archive.at >= newer_than]
        known = {stream.inode for stream in self._moved}
        continued = False
        for archive in recent:
            if archive.inode in known:
                continue
            if continued:
                yield archive.content()
                continue
            if archive.is_own and archive.at <= self._known_until:
                continue
            whole = archive_content(archive.path)
            places = (live.offset - self._blank,) if archive.is_own else (live.offset, live.offset - cut)
            place = next((place for place in places if _continues(whole, place, live.seen)), None)
            if place is not None:
                continued = True
                yield whole[place:]
            elif archive.is_own and (unread := self._unread(whole)):
                yield unread


def _continues(whole: bytes, place: int, seen: bytes) -> bool:
    """Report whether what was seen stands before this place of an archive."""
    if not 0 <= place <= len(whole):
        return False
    before = seen[-place:] if place else b""
    return whole[place - len(before) : place] == before


def _opened(path: Path, *, follows_link: bool = False) -> _OpenLog | None:
    try:
        return _OpenLog(path, follows_link=follows_link)
    except OSError:
        return None


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
