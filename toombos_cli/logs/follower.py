"""Follows a growing log through rotations; no line is missed or repeated."""

import os
from pathlib import Path

from toombos_cli.base.plain_files import open_plain_file
from toombos_cli.logs.rotation import LogFile, RotationRecord, archive_content, end_of_lines

_READ_BYTES = 1024 * 1024


class Follower:
    """Returns the new complete lines of a log.

    `place` is the first unread byte, counted in the stream of everything ever written (see `rotation.Record`).
    """

    def __init__(self, log: LogFile, *, from_end: bool = True) -> None:
        self._log = log
        self._rest = b""
        with log.reading() as record:
            self.place = record.base + (end_of_lines(log.path, record.blank) if from_end else record.blank)

    def poll(self) -> list[bytes]:
        """Return the lines, without newlines, completed since the last call; at most about 1 MiB of them.

        A longer line is returned in parts.
        """
        with self._log.reading() as record:
            data = self._behind(record) + self._live(record)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) >= _READ_BYTES:
            lines.append(self._rest)
            self._rest = b""
        return lines

    def _live(self, record: RotationRecord) -> bytes:
        start = self.place - record.base
        size = _size(self._log.path)
        if start > size:  # the file was emptied or replaced: read it from its start
            start, self._rest = 0, b""
        if start == size:
            return b""
        with open_plain_file(self._log.path) as live:
            data = os.pread(live.fileno(), _READ_BYTES, start)
        self.place = record.base + start + len(data)
        return data

    def _behind(self, record: RotationRecord) -> bytes:
        """Return what a rotation archived before it was read here; the newest archive ends where the log starts."""
        begin = record.base + record.blank
        missing = begin - self.place
        parts: list[bytes] = []
        for archive in reversed(self._log.archives()):
            if missing <= 0:
                break
            content = archive_content(archive)
            parts.insert(0, content[-missing:])
            missing -= len(content)
        self.place = max(self.place, begin)
        return b"".join(parts)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
