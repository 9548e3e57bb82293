"""The relevant lines and the last lines of each service's log.

Everything kept is free of secrets, control characters and markup: whole lines are redacted before they are shortened,
so that no part of a secret remains.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import accumulate
from pathlib import Path

import msgspec

from toombos_cli.base.errors import type_and_place
from toombos_cli.base.plain_files import obstacle
from toombos_cli.base.redaction import Redactor
from toombos_cli.base.text import one_line
from toombos_cli.diagnose.facts.configuration import SETTINGS
from toombos_cli.diagnose.facts.log_files import RawLine, archived, tail
from toombos_cli.diagnose.facts.source import Fact, Facts, FactUnavailableError
from toombos_cli.diagnose.facts.system import SYSTEM
from toombos_cli.logs.lines import entry_of, is_error, is_startup, level_of, text_of, timestamp_of
from toombos_cli.manifest.tables.known import literal_of
from toombos_cli.project.own_requests import OwnRequests

_SHOWN_CHARS = 300
_COMPLAINTS, _OTHERS = 300, 200
_LONGEST_TRACEBACK = 200
_LAST_LINES = 60
_ENOUGH_LINES = 200
_AT_ONCE_S = 60.0
_WRITTEN_WITHIN_S = 3.0
_QUARTER_S, _FARTHEST_ZONE_S = 900.0, 26 * 3600.0
_HERE, _THERE = timezone(timedelta()), timezone(timedelta(hours=1))
"""A line is written to its file within this time."""

# Lower case, searched literally: a regular expression of so many words takes twenty times as long.
_TELLING = (
    b"error", b"critical", b"fatal", b"exception", b"traceback", b"warn", b"timeout", b"timed", b"refused",
    b"database", b"query", b"pool", b"publish", b"dry_run", b"dry-run", b"api_key", b"token", b"unauthor",
    b"security", b"middleware", b"simulat", b"memory", b"oom", b"kill", b"resol", b"unavailable", b"document",
    b"generat", b"address", b"listen", b"module", b"validat", b"invalid", b"start", b"ready", b"running", b"shut",
    b"stopp", b"panic", b"segmentation", b"err!", b"err]", b"[crit", b"[alert", b"emerg", b"uncaught", b"unhandled",
    b"master mode", b"with success",
    b'"level":5', b'"level":6',
    b"failed", b"failure", b"cannot", b"can't", b"could not", b"unable", b"denied", b"not found", b"no such",
)  # fmt: skip
_NOBODYS = OwnRequests(None)
_REQUEST_ID = re.compile(rb'"request_id": ?"(toombos-[^"]{1,128})"')


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `line` is 1-based, None if only the `offset` in bytes is known; `at` is in seconds since the epoch."""

    path: str
    line: int | None
    offset: int
    at: float | None
    error: bool
    startup: bool
    text: str

    @property
    def shown(self) -> str:
        """The text, after its byte offset if it has no line number."""
        return self.text if self.line is not None else f"(at byte {self.offset}) {self.text}"


class LogFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One service's log: its relevant lines and its last lines, both oldest first."""

    path: str
    size_bytes: int = 0
    modified_at: float = 0.0
    ahead_s: float = 0.0
    """How far local time is ahead of the times in it."""
    problem: str = ""
    """Why it could not be read; also "" if it does not exist."""
    obstructed: bool = False
    """Whether something that is no file stands in its place."""
    exists: bool = False
    entries: tuple[LogEntry, ...] = ()
    last: tuple[LogEntry, ...] = ()
    complaints: int = 0
    """The number of lines with errors or warnings; `entries` contains the latest of them."""

    @property
    def holds_all(self) -> bool:
        """Whether `entries` contains every error and warning that was read."""
        return self.complaints <= _COMPLAINTS


def _gather(facts: Facts) -> dict[str, LogFacts]:
    try:
        redactor = facts.get(SETTINGS).redactor
    except FactUnavailableError:
        redactor = Redactor()
    own = OwnRequests.of(facts.manifest.project)
    words = tuple(literal_of(line.pattern).encode() for line in facts.manifest.diagnose.known)
    begins = _begins(facts)
    return {
        name: _log(Path(service.log), redactor, own, words, begins.get(name, 0))
        for name, service in facts.manifest.services.items()
    }


def _begins(facts: Facts) -> dict[str, int]:
    """Return the offset at which the present life of each service begins in its log."""
    try:
        return {name: found.log_offset for name, found in facts.get(SYSTEM).services.items()}
    except FactUnavailableError:
        return {}


def _log(path: Path, redactor: Redactor, own: OwnRequests, words: tuple[bytes, ...], begin: int) -> LogFacts:
    try:
        return read_log(path, redactor, own, words, begin)
    except Exception as error:  # a bug that one log reveals must not affect the others
        return LogFacts(path=str(path), exists=True, problem=f"cannot be read: {type_and_place(error)}")


def read_log(
    path: Path, redactor: Redactor, own: OwnRequests = _NOBODYS, words: tuple[bytes, ...] = (), begin: int = 0
) -> LogFacts:
    """Return the end of a log, preceded by that of the newest archive if the log is short.

    `words` are further ones that make a line relevant, in lower case. The service's present life begins at the offset
    `begin`: a line without a time does not get one from a life before.
    Lines of toombos's own requests, whose errors are not faults of the system, are left out.
    """
    try:
        found = path.lstat()
        if (flaw := obstacle(found)) is not None:
            return LogFacts(path=str(path), exists=True, problem=flaw, obstructed=True)
        lines = list(tail(path))
    except FileNotFoundError:
        return LogFacts(path=str(path))
    except OSError as error:
        return LogFacts(path=str(path), exists=True, problem=f"cannot be read: {error.strerror}")
    if len(lines) < _ENOUGH_LINES:
        lines = [*archived(path), *lines]
    complaints, others = _telling(lines, own, words)
    kept = sorted((*complaints[-_COMPLAINTS:], *others[-_OTHERS:]))
    ahead_s = _ahead_s(lines[-_LAST_LINES:], found.st_mtime)
    life = next((i for i, line in enumerate(lines) if line.path == str(path) and line.offset >= begin), len(lines))
    moments = (None if at is None else at.timestamp() + ahead_s for at in _moments(lines, kept, life))
    return LogFacts(
        path=str(path),
        size_bytes=found.st_size,
        modified_at=found.st_mtime,
        ahead_s=ahead_s,
        exists=True,
        entries=tuple(_entry(lines[index], at, redactor) for index, at in zip(kept, moments, strict=True)),
        last=tuple(_entry(line, None, redactor) for line in lines[-_LAST_LINES:]),
        complaints=len(complaints),
    )


def _telling(lines: list[RawLine], own: OwnRequests, words: tuple[bytes, ...]) -> tuple[list[int], list[int]]:
    """Return the indices of the lines with errors or warnings, and of the other relevant lines."""
    complaints: list[int] = []
    others: list[int] = []
    for index in _with_a_telling_word(lines, words):
        raw = lines[index].raw
        request_id = _REQUEST_ID.search(raw)
        if request_id is None or not own.includes(request_id[1].decode("utf-8", "replace")):
            complains = b"warn" in raw.lower() or is_error(text_of(raw))
            (complaints if complains else others).append(index)
    return complaints, others


def _with_a_telling_word(lines: list[RawLine], words: tuple[bytes, ...] = ()) -> list[int]:
    """Return the indices of the lines with a relevant word.

    Searching the whole text per word is faster than searching each line, as most words never occur.
    """
    text = b"\n".join(line.raw for line in lines).lower()
    begins = (0, *accumulate(len(line.raw) + 1 for line in lines))
    found: set[int] = set()
    for word in (*_TELLING, *words):
        at = text.find(word) if len(found) < len(lines) else -1
        while at != -1:
            index = bisect_right(begins, at) - 1
            found.add(index)
            at = text.find(word, begins[index + 1])
    return sorted(found)


def is_telling(line: str) -> bool:
    """Return whether the line has a relevant word."""
    return bool(_with_a_telling_word([RawLine("", None, 0, line.encode(), 0)]))


def _moments(lines: list[RawLine], indices: list[int], life: int) -> Iterator[datetime | None]:
    """Yield the time of each of these lines; a line without one has the time of the nearest dated line before it.

    Neither looks across the line `life`, with which another process of the service begins.
    """
    moment, dated, looked_at = None, -1, -1
    for index in indices:
        if looked_at < life <= index:
            moment, dated, looked_at = None, -_LONGEST_TRACEBACK, life - 1
        for before in range(index, max(looked_at, index - _LONGEST_TRACEBACK), -1):
            if (found := _own_moment(lines[before])) is not None:
                moment, dated = found, before
                break
        looked_at = index
        yield moment if index - dated < _LONGEST_TRACEBACK else None


def _own_moment(line: RawLine) -> datetime | None:
    return timestamp_of(text_of(line.raw[:300]))


def _ahead_s(last: list[RawLine], written_at: float) -> float:
    """Return how many seconds local time is ahead of the log's times without a zone; 0 if they are local.

    The file's modification time says when its last line was written. If the last time differs from it by the local
    offset from UTC, the log is in UTC; if that of the very last line does by other quarters of an hour, as time zones
    do, it is in the zone of a program that has its own.
    """
    dated = next((line for line in reversed(last) if _own_moment(line) is not None), None)
    moment = _own_moment(dated) if dated else None
    if dated is None or moment is None or _names_its_zone(dated):
        return 0.0
    gap_s = written_at - moment.timestamp()
    offset = moment.utcoffset() or timedelta()
    if offset and abs(gap_s - offset.total_seconds()) < _AT_ONCE_S:
        return offset.total_seconds()
    ahead_s = round(gap_s / _QUARTER_S) * _QUARTER_S
    is_a_zone = abs(ahead_s) <= _FARTHEST_ZONE_S and abs(gap_s - ahead_s) < _WRITTEN_WITHIN_S
    return ahead_s if is_a_zone and dated is last[-1] else 0.0


def _names_its_zone(line: RawLine) -> bool:
    text = text_of(line.raw[:300])
    return timestamp_of(text, _HERE) == timestamp_of(text, _THERE)


def _entry(line: RawLine, moment: float | None, redactor: Redactor) -> LogEntry:
    text = text_of(line.raw)
    return LogEntry(
        path=line.path,
        line=line.line,
        offset=line.offset,
        at=moment,
        error=is_error(text),
        startup=is_startup(text),
        text=one_line(redactor.text(_readable(text)), limit=_SHOWN_CHARS)
        if line.raw
        else f"(a line of {line.length} bytes, not shown)",
    )


def _readable(text: str) -> str:
    """Return time, level, logger, message and last exception line of a JSON log line, or any other line unchanged."""
    entry = entry_of(text)
    message = (entry.get("message") or entry.get("msg")) if entry is not None else None
    if entry is None or not isinstance(message, str):
        return text
    words = [str(entry.get("timestamp") or ""), level_of(entry) or "", str(entry.get("logger") or ""), message]
    exception = str(entry.get("exception") or "").strip().splitlines()
    problems = entry.get("problems")
    if isinstance(problems, list):
        words.append("; ".join(str(p.get("message", "")) for p in problems if isinstance(p, dict)))
    if entry.get("simulation"):
        words.append(f"(simulation {entry['simulation']})")
    return " ".join(word for word in (*words, *(["-", exception[-1].strip()] if exception else [])) if word)


def tail_text(path: Path, redactor: Redactor) -> str:
    """Return the end of a log, redacted line by line; "" if it cannot be read."""
    try:
        lines = list(tail(path))
    except OSError:
        return ""
    return "".join(
        redactor.text(text_of(line.raw)) + "\n" if line.raw else f"({line.length} bytes not shown)\n" for line in lines
    )


LOGS: Fact[dict[str, LogFacts]] = Fact("logs", dict[str, LogFacts], _gather)
