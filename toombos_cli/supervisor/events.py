"""The report of `toombos events`: what the history says of some services in a span of time."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import msgspec

from toombos_cli.base.results import Report, Verdict
from toombos_cli.logs.reading import LogLine
from toombos_cli.project.history import EventKind, HistoryEvent, read_history
from toombos_cli.project.state import EventReason


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event; `why` is the reason in words. The other keys are those of the history."""

    at: datetime
    service: str
    event: EventKind
    reason: EventReason | None
    exit_code: int | None
    signal: str
    file: str
    text: str
    why: str
    by: str
    user: str
    uid: int | None
    pid: int

    @classmethod
    def of(cls, event: HistoryEvent) -> "EventRow":
        """Return the row of an event of the history."""
        return cls(
            at=event.moment,
            service=event.service,
            event=event.event,
            reason=event.reason,
            exit_code=event.exit_code,
            signal=event.signal,
            file=event.file,
            text=event.text,
            why=event.why,
            by=event.by,
            user=event.user,
            uid=event.uid,
            pid=event.pid,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsReport(Report):
    """The chosen events, oldest first; `notes` say what of the history could not be read."""

    kind: ClassVar[str] = "events"
    asked_for: ClassVar[bool] = True

    events: tuple[EventRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Return WARN if a part could not be read, SKIP if there is no event to show."""
        if self.notes:
            return Verdict.WARN
        return Verdict.PASS if self.events else Verdict.SKIP


def run_events(
    project: Path,
    names: tuple[str, ...],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    count: int | None = None,
) -> EventsReport:
    """Return the last `count` events (None: all) of these services, or of all and the supervisor if none is named."""
    history = read_history(project)
    found = [
        event
        for event in chosen(history.events, names)
        if (since is None or event.moment >= since) and (until is None or event.moment <= until)
    ]
    shown = found if count is None else found[max(0, len(found) - count) :]
    return EventsReport(events=tuple(map(EventRow.of, shown)), notes=history.problems)


def chosen(events: Iterable[HistoryEvent], names: tuple[str, ...]) -> Iterable[HistoryEvent]:
    """Return the events of these services, all if none is named."""
    return (event for event in events if not names or event.service in names)


def events_among_logs(events: Iterable[HistoryEvent], logs: Collection[str]) -> dict[str, list[LogLine]]:
    """Return the events as lines for these logs, by log, whose name is that of its service, or of several with `+`.

    What happens at every start, that the service is ready, is left out.
    """
    found: dict[str, list[LogLine]] = {log: [] for log in logs}
    log_of = {name: log for log in logs for name in log.split("+")}
    for event in events:
        if event.service in log_of and event.event not in (EventKind.READY, EventKind.DONE):
            log = log_of[event.service]
            found[log].append(_line(log, event))
    return found


def _line(log: str, event: HistoryEvent) -> LogLine:
    shared = f"{event.service} " if log != event.service else ""
    text = f"-- {event.moment.astimezone():%H:%M:%S} {shared}{event}"
    return LogLine(service=log, timestamp=event.moment, line=text, event=msgspec.to_builtins(EventRow.of(event)))
