"""The history of a project's services, `run/history.jsonl`: what happened to each, when, why, and who asked for it.

Only the supervisor writes it. It holds no secret, and no variable or argument of a service. Each line is one event;
the oldest ones are cut off.
"""

import contextlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec

from toombos_cli.base.own_records import decode_own
from toombos_cli.base.plain_files import READ, open_plain
from toombos_cli.base.trust import NotTrustedError, check_file, user_name
from toombos_cli.base.untrusted import ProcessNumber, UntrustedError
from toombos_cli.project.state import EventReason, RunDirectory

MOST_BYTES = 1024 * 1024
MOST_LINES = 5000
"""When the history is longer than this, its older half is cut off."""
TAIL_BYTES = 64 * 1024
"""The part that is read if only the last events matter."""

BY_SUPERVISOR = "supervisor"

EpochMilliseconds = Annotated[int, msgspec.Meta(ge=0, le=32_503_680_000_000)]


class EventKind(StrEnum):
    """What happened. The values are contract (`run/history.jsonl`, `--json`)."""

    STARTED = "started"
    RESTARTED = "restarted"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    RECOVERED = "recovered"
    DONE = "done"
    """The task has succeeded."""
    EXITED = "exited"
    """Its process ended by itself, or by a signal that toombos did not send."""
    STOPPED = "stopped"
    """It was ended, by a command or by the supervisor; the reason says which."""
    KILLED = "killed"
    """A process did not end within the grace period."""
    FAILED = "failed"
    """A start did not succeed."""
    GAVE_UP = "gave-up"
    """It was ready and is not restarted any more."""
    CRASH_LOOP = "crash-loop"
    ADOPTED = "adopted"
    SUPERVISOR_STARTED = "supervisor-started"
    SUPERVISOR_ENDED = "supervisor-ended"


class HistoryEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event. `service` is "" if it concerns the supervisor itself; `pid` is 0 if no process is meant.

    `by` is the command that asked for it, such as `toombos restart`, `supervisor` for what it did by itself, and "" for
    what it only saw. `uid` is the user that the kernel names for that command, else None.
    """

    at_ms: EpochMilliseconds
    event: EventKind
    service: str = ""
    reason: EventReason | None = None
    exit_code: int | None = None
    signal: str = ""
    file: str = ""
    text: str = ""
    by: str = ""
    uid: int | None = None
    pid: ProcessNumber = 0

    @property
    def at(self) -> float:
        """The time in seconds since the epoch."""
        return self.at_ms / 1000

    @property
    def moment(self) -> datetime:
        """The time, in UTC."""
        return datetime.fromtimestamp(self.at, UTC)

    @property
    def why(self) -> str:
        """Why it happened, in a few words for a person; "" if nothing more is to be said."""
        match self.reason:
            case EventReason.EXIT_CODE:
                return f"exit code {self.exit_code}"
            case EventReason.SIGNAL:
                return self.signal
            case EventReason.WATCHED_FILE:
                return f"{self.file} changed"
            case None | EventReason.COMMAND:
                return self.text
        return self.text or _WORDS.get(self.reason, self.reason.value)

    @property
    def user(self) -> str:
        """The name of the user who asked for it; "" if the supervisor acted by itself."""
        return "" if self.uid is None else user_name(self.uid)

    def __str__(self) -> str:
        """Return what happened, why and who asked for it, without the service and the time."""
        asked = "" if self.by in ("", BY_SUPERVISOR) else f" by {self.by}" + (f" ({self.user})" if self.user else "")
        pid = f", pid {self.pid}" if self.pid else ""
        return f"{self.event.replace('-', ' ')}{pid}{asked}" + (f": {self.why}" if self.why else "")


_WORDS = {
    EventReason.UNKNOWN: "exit code unknown",
    EventReason.LEFTOVER: "left by an earlier start",
    EventReason.SUPERVISOR_ENDS: "the supervisor ended",
    EventReason.NOTHING_LEFT: "nothing was left to supervise",
    EventReason.NOT_READY: "it was not ready in time",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The events that could be read, oldest first; `problems` say why others could not."""

    events: tuple[HistoryEvent, ...] = ()
    problems: tuple[str, ...] = ()

    def of(self, service: str) -> tuple[HistoryEvent, ...]:
        """Return the events of one service."""
        return tuple(event for event in self.events if event.service == service)


def history_path(project: Path) -> Path:
    """Return the path of the history."""
    return RunDirectory(project).path / "history.jsonl"


def read_history(project: Path, *, last_bytes: int = 2 * MOST_BYTES) -> History:
    """Return the events in the last part of the history; never raises. A line that cannot be read is left out."""
    path = history_path(project)
    try:
        check_file(path, project)
        lines = _last_lines(path, last_bytes)
    except FileNotFoundError:
        return History()
    except (OSError, NotTrustedError) as error:
        return History(problems=(f"{path} {_flaw(error)}",))
    events, damaged = decode_lines(lines)
    text = f"{damaged} of {len(lines)} lines of {path} are damaged or of another version, and are left out"
    return History(events=events, problems=(text,) if damaged else ())


def decode_lines(lines: list[bytes]) -> tuple[tuple[HistoryEvent, ...], int]:
    """Return the events of these lines, and the number of lines that are none."""
    events: list[HistoryEvent] = []
    for line in lines:
        with contextlib.suppress(UntrustedError):
            events.append(decode_own(line, HistoryEvent))
    return tuple(events), len(lines) - len(events)


def own_restarts(events: tuple[HistoryEvent, ...]) -> tuple[HistoryEvent, ...]:
    """Return the restarts of one service that the supervisor made by itself since a command last started it."""
    found: list[HistoryEvent] = []
    for event in events:
        if event.event in (EventKind.STARTED, EventKind.RESTARTED) and event.reason is EventReason.COMMAND:
            found.clear()
        elif event.event is EventKind.RESTARTED:
            found.append(event)
    return tuple(found)


def _last_lines(path: Path, count: int) -> list[bytes]:
    """Return the complete lines, without blank ones, in the last `count` bytes."""
    with os.fdopen(open_plain(path, READ), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = max(0, size - count)
        file.seek(start)
        *lines, _ = file.read(count).split(b"\n")
    return [line for line in (lines[1:] if start else lines) if line.strip()]


class HistoryFollower:
    """Returns the events that are added to the history, also when it is shortened or replaced meanwhile."""

    def __init__(self, project: Path) -> None:
        self._path = history_path(project)
        self._project = project
        self._seen: tuple[int, ...] = ()
        self._last = b""
        self.poll()

    def poll(self) -> tuple[HistoryEvent, ...]:
        """Return the events since the last call; never raises."""
        try:
            found = os.lstat(self._path)
            seen = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            if seen == self._seen:
                return ()
            check_file(self._path, self._project)
            lines = _last_lines(self._path, TAIL_BYTES)
        except (OSError, NotTrustedError):
            return ()
        self._seen = seen
        new = len(lines) - lines[::-1].index(self._last) if self._last in lines else 0
        self._last = lines[-1] if lines else self._last
        return decode_lines(lines[new:])[0]


def _flaw(error: Exception) -> str:
    return f"cannot be read: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
