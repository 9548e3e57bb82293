"""Reads the services' logs from the end: the last lines, errors, start-up lines, lines since a time."""

import heapq
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from toombos_cli.base.plain_files import open_plain_file
from toombos_cli.base.results import Report, Verdict
from toombos_cli.logs.lines import is_error as is_error  # the filters that callers choose from
from toombos_cli.logs.lines import is_startup as is_startup
from toombos_cli.logs.lines import timestamp_of
from toombos_cli.logs.rotation import LogFile, archive_content

_BLOCK_BYTES = 262_144
LineFilter = Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line. `timestamp` is its own or that of the line before it; None if neither has one."""

    service: str
    timestamp: datetime | None
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsReport(Report):
    """The requested lines, oldest first; those of several services are merged by time."""

    kind: ClassVar[str] = "logs"
    asked_for: ClassVar[bool] = True

    lines: tuple[LogLine, ...]

    @property
    def verdict(self) -> Verdict:
        """Return SKIP if there is no line to show."""
        return Verdict.PASS if self.lines else Verdict.SKIP


def matches(pattern: re.Pattern[str]) -> LineFilter:
    """Return a filter that accepts the lines in which the pattern is found."""
    return lambda line: bool(pattern.search(line))


def run_logs(
    logs: dict[str, LogFile],
    *,
    count: int | None,
    filters: tuple[LineFilter, ...] = (),
    since: datetime | None = None,
    until: dict[str, int] | None = None,
) -> LogsReport:
    """Return the last `count` lines (None: all) of each log that pass every filter and are not older than `since`.

    `until` is, for each log, the place in its stream from which a Follower continues.

    Archives are read as far back as needed. A log that does not exist has no lines.
    """
    ends = until or {}
    found = [_last(name, _backwards(log, ends.get(name)), count, filters, since) for name, log in logs.items()]
    oldest = datetime.min.replace(tzinfo=UTC)
    return LogsReport(lines=tuple(heapq.merge(*found, key=lambda line: line.timestamp or oldest)))


def _last(
    service: str,
    newest_first: Iterator[str],
    count: int | None,
    filters: tuple[LineFilter, ...],
    since: datetime | None,
) -> list[LogLine]:
    """Read backwards until there are enough lines. A line without a time belongs to the one before it."""
    taken: list[LogLine] = []
    untimed: list[str] = []

    def flush(moment: datetime | None) -> None:
        taken.extend(LogLine(service=service, timestamp=moment, line=text) for text in untimed)
        untimed.clear()

    for line in newest_first:
        if count is not None and len(taken) + len(untimed) >= count:
            break
        moment = timestamp_of(line)
        if since is not None and moment is not None and moment < since:
            untimed.clear()
            break
        if all(passes(line) for passes in filters):
            untimed.append(line)
        if moment is not None:
            flush(moment)
    flush(None)
    taken.reverse()
    return taken


def _backwards(log: LogFile, until: int | None) -> Iterator[str]:
    """Yield the log's lines, newest first, those of the archives after those of the live file."""
    with log.reading() as record:
        end = None if until is None else until - record.base
        yield from _lines_backwards(log.path, record.blank, end)
        archives = log.archives()
    for archive in reversed(archives):
        if archive.suffix != ".gz" and archive.exists():
            yield from _lines_backwards(archive, 0, None)
        else:
            yield from reversed(archive_content(archive).decode("utf-8", "replace").removesuffix("\n").split("\n"))


def _lines_backwards(path: Path, first_byte: int, end: int | None) -> Iterator[str]:
    """Yield the lines in [first_byte, end), or to the file's end, newest first, reading block by block."""
    try:
        file = open_plain_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    with file:
        size = os.fstat(file.fileno()).st_size
        position = size if end is None else min(size, max(end, first_byte))
        parts: list[bytes] = []  # of the line whose start is not found yet, the last part first
        newest = True
        while position > first_byte:
            begin = max(first_byte, position - _BLOCK_BYTES)
            block = os.pread(file.fileno(), position - begin, begin)
            if newest and block.endswith(b"\n"):
                block = block[:-1]
            newest = False
            head, *lines = block.split(b"\n")
            if lines:
                yield _text(lines.pop(), parts)
                yield from (_text(line, []) for line in reversed(lines))
                parts = []
            parts.append(head)
            position = begin
        if not newest:
            yield _text(b"", parts)


def _text(begin: bytes, parts: list[bytes]) -> str:
    """Return a line joined from its start and its further parts, which are in reverse order."""
    return b"".join((begin, *reversed(parts))).decode("utf-8", "replace")
