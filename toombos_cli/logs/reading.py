"""Reads the services' logs from the end: the last lines, errors, start-up lines, lines of a span of time."""

import heapq
import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from toombos_cli.base.plain_files import open_plain_file
from toombos_cli.base.results import Report, Verdict
from toombos_cli.logs.archives import LogPart, archive_content, filler_at, older_parts
from toombos_cli.logs.entries import entries_backwards
from toombos_cli.logs.lines import text_of, timestamp_of
from toombos_cli.logs.rotation import LogFile
from toombos_cli.logs.selection import ALL, Selection

_BLOCK_BYTES = 262_144
_EVENTS_WITHOUT_TIMES = 5
_STARTED = "started"
"""`event` of a start in the history."""
_OUT_OF_ORDER = timedelta(minutes=1)
"""Several writers of one log may write their lines so much later than others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line. `timestamp` is its own or that of the line before it; None if neither has one.

    `event` is None for a line of the service. Otherwise the line says what the history has of that moment, and `event`
    holds the keys of `toombos events --json`.
    """

    service: str
    timestamp: datetime | None
    line: str
    event: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsReport(Report):
    """The requested lines, oldest first; those of several services are merged by time.

    `services` are those that were asked for, also those without a line. `notes` say where else a service writes.
    """

    kind: ClassVar[str] = "logs"
    asked_for: ClassVar[bool] = True

    lines: tuple[LogLine, ...]
    services: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Return SKIP if there is no line to show."""
        return Verdict.PASS if self.lines else Verdict.SKIP


def run_logs(
    logs: dict[str, LogFile],
    *,
    count: int | None,
    selection: Selection = ALL,
    places: dict[str, int] | None = None,
    notes: tuple[str, ...] = (),
    events: Mapping[str, Sequence[LogLine]] = MappingProxyType({}),
) -> LogsReport:
    """Return the last `count` lines (None: all) of each log that are selected. A selection counts whole entries.

    `events`, by log, stand among the lines: those since the oldest line shown, or the last few of the present life of
    the service if no line has a time.

    `places` is, for each log, the place in its stream from which a Follower continues.

    Archives are read as far back as needed. A log that does not exist has no lines.
    """
    ends = places or {}
    found = [_last(name, log, _backwards(log, ends.get(name)), count, selection) for name, log in logs.items()]
    if count != 0:
        found += [_among(lines, events.get(name, ()), selection) for name, lines in zip(logs, found, strict=True)]
    oldest = datetime.min.replace(tzinfo=UTC)
    lines = tuple(heapq.merge(*found, key=lambda line: line.timestamp or oldest))
    return LogsReport(lines=lines, services=tuple(logs), notes=notes)


def _last(
    service: str, log: LogFile, newest_first: Iterator[str], count: int | None, selection: Selection
) -> list[LogLine]:
    """Read backwards until there are enough entries. An entry without a time has that of the one before it."""
    taken: list[LogLine] = []
    untimed: list[list[str]] = []
    number = 0

    def flush(moment: datetime | None) -> None:
        nonlocal number
        if moment is None or selection.spans(moment):
            number += len(untimed)
            taken.extend(
                LogLine(service=service, timestamp=moment, line=line) for shown in untimed for line in reversed(shown)
            )
        untimed.clear()

    for entry in _entries(newest_first, selection):
        waiting = len(untimed) if selection.until is None else 0
        if count is not None and number + waiting >= count:
            break
        moment = _moment(entry, log.zone)
        if shown := selection.shown(entry):
            untimed.append(shown)
        if moment is not None:
            flush(moment)
            if selection.since is not None and moment < selection.since - _OUT_OF_ORDER:
                break
    flush(None)
    taken.reverse()
    return taken


def _among(lines: list[LogLine], events: Sequence[LogLine], selection: Selection) -> list[LogLine]:
    """Return the events that stand among these lines."""
    begin = next((line.timestamp for line in lines if line.timestamp is not None), None)
    chosen = [event for event in events if event.timestamp is not None and selection.spans(event.timestamp)]
    if begin is None and not selection.since:
        starts = [index for index, event in enumerate(chosen) if event.event and event.event["event"] == _STARTED]
        return chosen[max([*starts[-1:], len(chosen) - _EVENTS_WITHOUT_TIMES, 0]) :]
    if begin is None:
        return chosen
    return [event for event in chosen if event.timestamp is not None and event.timestamp >= begin]


def _entries(newest_first: Iterator[str], selection: Selection) -> Iterable[list[str]]:
    """Return the entries, newest first; each line is one if all are shown."""
    return entries_backwards(newest_first) if selection.chooses else ([line] for line in newest_first)


def _moment(entry: list[str], zone: tzinfo | None) -> datetime | None:
    return next((moment for line in entry if (moment := timestamp_of(line, zone)) is not None), None)


def _backwards(log: LogFile, until: int | None) -> Iterator[str]:
    """Yield the log's lines, newest first, those of the archives after those of the live file."""
    shown: set[tuple[int, int]] = set()
    with log.reading() as record:
        end = None if until is None else until - record.base
        yield from _lines_backwards(log.path, end, shown, first_byte=record.blank)
        for path in log.elsewhere:
            yield from _lines_backwards(path, None, shown, follows_link=True)
        older = older_parts(log.path)
    for archive in reversed(older):
        if archive.inode in shown or any(_has_all_of(path, archive) for path in log.elsewhere):
            continue
        if not archive.is_packed and (yield from _lines_backwards(archive.path, None, shown)):
            continue
        if content := archive.content():
            yield from map(text_of, reversed(content.removesuffix(b"\n").split(b"\n")))


def _has_all_of(elsewhere: Path, archive: LogPart) -> bool:
    """Report whether an archive was compressed from a file, now removed, to which the service still writes."""
    if archive.is_own or not archive.is_packed:
        return False
    try:
        with elsewhere.open("rb") as file:
            if os.fstat(file.fileno()).st_nlink:
                return False
            content = archive_content(archive.path)
            return bool(content) and file.read(len(content)) == content
    except OSError:
        return False


def _lines_backwards(
    path: Path, end: int | None, shown: set[tuple[int, int]], *, first_byte: int = 0, follows_link: bool = False
) -> Generator[str, None, bool]:
    """Yield the lines of a file up to `end`, or to its own end, newest first, reading block by block.

    The file is noted in `shown`, and left out if it is there already. Return whether there is such a file.
    """
    try:
        file = path.open("rb") if follows_link else open_plain_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    with file:
        found = os.fstat(file.fileno())
        if (inode := (found.st_dev, found.st_ino)) in shown:
            return True
        shown.add(inode)
        first_byte = first_byte or filler_at(file.fileno())
        position = found.st_size if end is None else min(found.st_size, max(end, first_byte))
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
    return True


def _text(begin: bytes, parts: list[bytes]) -> str:
    """Return a line joined from its start and its further parts, which are in reverse order."""
    return text_of(b"".join((begin, *reversed(parts))))
