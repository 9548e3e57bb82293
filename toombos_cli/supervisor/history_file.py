"""Appends to `run/history.jsonl` and keeps it short. An error is noted, and never stops or delays the supervisor."""

import errno
import os
from collections import deque
from pathlib import Path

from toombos_cli.base.files import PRIVATE, replace_file
from toombos_cli.base.own_records import encode_own
from toombos_cli.base.plain_files import open_plain
from toombos_cli.project.history import MOST_BYTES, MOST_LINES, HistoryEvent

_READ_AND_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT
_MOST_WAITING = 200


class HistoryFile:
    """The history on disk; `problem` says why the last write failed, or is None. Events wait until they can be written,
    the last 200 of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None
        self._waiting: deque[bytes] = deque(maxlen=_MOST_WAITING)
        self._lines: int | None = None

    def append(self, *events: HistoryEvent) -> None:
        """Append the events, after those that could not be written before."""
        self._waiting.extend(encode_own(event) + b"\n" for event in events)
        self.write_waiting()

    def write_waiting(self) -> None:
        """Write the events that could not be written, if there are any."""
        if not self._waiting:
            return
        try:
            self._write(b"".join(self._waiting), len(self._waiting))
        except OSError as error:
            self.problem = f"{self.path} could not be written and is incomplete: {error.strerror}"
        else:
            self._waiting.clear()
            self.problem = None

    def _write(self, content: bytes, count: int) -> None:
        fd = open_plain(self.path, _READ_AND_APPEND, PRIVATE)
        try:
            found = os.fstat(fd)
            if found.st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, "belongs to another user")
            if found.st_mode & 0o077:
                os.fchmod(fd, PRIVATE)
            if self._lines is None and found.st_size <= MOST_BYTES:
                self._lines = os.pread(fd, MOST_BYTES, 0).count(b"\n")
            if found.st_size + len(content) > MOST_BYTES or (self._lines or 0) + count > MOST_LINES:
                self._shorten(fd, found.st_size, content)
                return
            if found.st_size and os.pread(fd, 1, found.st_size - 1) != b"\n":  # a crash left a part of a line
                content = b"\n" + content
            if os.write(fd, content) < len(content):
                os.ftruncate(fd, found.st_size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._lines = (self._lines or 0) + count
        finally:
            os.close(fd)

    def _shorten(self, fd: int, size: int, content: bytes) -> None:
        """Replace the file by its newer half and the new content."""
        start = max(0, size - MOST_BYTES // 2)
        kept = os.pread(fd, MOST_BYTES // 2, start).split(b"\n")
        lines = [line + b"\n" for line in (kept[1:] if start else kept) if line.strip()][-MOST_LINES // 2 :]
        replace_file(self.path, b"".join(lines) + content, durable=False)
        self._lines = len(lines) + content.count(b"\n")
