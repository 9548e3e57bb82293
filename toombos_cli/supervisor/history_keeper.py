"""Writes the history of the services, by comparing their states before and after each change."""

import os
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from toombos_cli.base.text import one_line, seconds, signal_name
from toombos_cli.project.history import BY_SUPERVISOR, EventKind, HistoryEvent, history_path
from toombos_cli.project.state import End, EventReason, FailureKind, Phase, ServiceState
from toombos_cli.supervisor.history_file import HistoryFile
from toombos_cli.supervisor.protocol import (
    EndedProcess,
    Request,
    RestartRequest,
    ServiceFailure,
    StartRequest,
    StatusRequest,
    StopRequest,
    TaskRanRequest,
)

if TYPE_CHECKING:
    from toombos_cli.supervisor.service_process import Running
    from toombos_cli.supervisor.unit import ServiceUnit

_LONGEST_TEXT = 400
_UP = frozenset({Phase.READY, Phase.UNHEALTHY})
_BY_ITSELF = frozenset({EventReason.EXIT_CODE, EventReason.SIGNAL, EventReason.UNKNOWN, EventReason.CONFIGURATION})
COMMANDS: dict[type[Request], str] = {
    StartRequest: "toombos start",
    StopRequest: "toombos stop",
    RestartRequest: "toombos restart",
    StatusRequest: "toombos status",
    TaskRanRequest: "toombos run",
}
"""The name of each request in the history."""
FAILURES = {
    FailureKind.COMMAND: EventReason.CANNOT_START,
    FailureKind.DIRECTORY: EventReason.CANNOT_START,
    FailureKind.LOG: EventReason.CANNOT_START,
    FailureKind.PORT: EventReason.CANNOT_START,
    FailureKind.LOCK: EventReason.CANNOT_START,
    FailureKind.EXITED: EventReason.UNKNOWN,
    FailureKind.USER: EventReason.CANNOT_START,
    FailureKind.BACKGROUND: EventReason.UNKNOWN,
    FailureKind.CONFIGURATION: EventReason.CONFIGURATION,
    FailureKind.TIMEOUT: EventReason.NOT_READY,
    FailureKind.ADDRESS: EventReason.NOT_READY,
    FailureKind.LIMIT: EventReason.LIMIT,
    FailureKind.UNHEALTHY: EventReason.UNHEALTHY,
    FailureKind.DEPENDENCY: EventReason.DEPENDENCY,
    FailureKind.STUBBORN: EventReason.STUBBORN,
    FailureKind.BUG: EventReason.BUG,
    FailureKind.NOT_DRY_RUN: EventReason.NOT_DRY_RUN,
}
"""Maps each kind of failure to its reason in the history; for EXITED, the exit code decides."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for what is being done: a command and the user that the kernel names for it, or the supervisor."""

    by: str
    uid: int | None

    @classmethod
    def of(cls, request: Request, uid: int | None) -> "Actor":
        """Return the actor of a request: its command follows from its type, because a name could be made up."""
        return cls(COMMANDS[type(request)], uid)


SUPERVISOR = Actor(BY_SUPERVISOR, None)
ACTOR: ContextVar[Actor] = ContextVar("ACTOR", default=SUPERVISOR)
"""Who asks for what the current task does; tasks inherit it."""


def end_of(failure: ServiceFailure, running: "Running") -> End:
    """Return the record of the end of a service's process, before the rest of its tree is ended."""
    code = running.exit_code
    reason = FAILURES[failure.kind]
    if failure.kind is FailureKind.EXITED and code is not None:
        reason = EventReason.SIGNAL if code < 0 else EventReason.EXIT_CODE
    return End(
        at=round(time.time(), 3),
        reason=reason,
        text=failure.message,
        exit_code=code if reason in _BY_ITSELF and code is not None and code >= 0 else None,
        signal=signal_name(-code) if reason is EventReason.SIGNAL and code is not None else "",
    )


class HistoryKeeper:
    """The history of one project."""

    def __init__(self, project: Path) -> None:
        self.file = HistoryFile(history_path(project))
        self._before: dict[str, ServiceState] = {}
        self._ended: dict[str, EndedProcess] = {}

    def move_to(self, project: Path) -> None:
        """Continue in the project's new directory."""
        self.file.path = history_path(project)

    def supervisor_started(self) -> None:
        """Record the start of this supervisor."""
        self.file.append(
            HistoryEvent(at_ms=_now_ms(), event=EventKind.SUPERVISOR_STARTED, by=BY_SUPERVISOR, pid=os.getpid())
        )

    def supervisor_ended(self, number: int | None) -> None:
        """Record the end of this supervisor, by this signal, or because nothing was left to supervise."""
        event = HistoryEvent(
            at_ms=_now_ms(),
            event=EventKind.SUPERVISOR_ENDED,
            by=BY_SUPERVISOR,
            pid=os.getpid(),
            reason=EventReason.NOTHING_LEFT if number is None else EventReason.SIGNAL,
            signal="" if number is None else signal_name(number),
        )
        self.file.append(event)

    def leftover_ended(self, ended: EndedProcess) -> None:
        """Record the end of processes that belong to no unit."""
        stopped = HistoryEvent(
            at_ms=_now_ms(),
            event=EventKind.STOPPED,
            service=ended.service,
            reason=EventReason.LEFTOVER,
            by=BY_SUPERVISOR,
            pid=ended.pid,
        )
        self.file.append(*_killed(ended, SUPERVISOR), stopped)

    def note(self, unit: "ServiceUnit") -> None:
        """Record what a unit's new state tells. `toombos run` has recorded itself what it reports."""
        before, state = self._before.get(unit.name), unit.state
        self._before[unit.name] = state
        if ACTOR.get().by == COMMANDS[TaskRanRequest]:
            return
        before = before or msgspec.structs.replace(state, phase=Phase.STOPPED, pid=0)
        ended = unit.ended if unit.ended is not self._ended.get(unit.name) else None
        if ended is not None:
            self._ended[unit.name] = ended
        if ended is None and (before.phase, before.pid, before.last_end) == (state.phase, state.pid, state.last_end):
            return
        events = [*_end(before, state), *_kills(ended, state, before), *_start(before, state), *_phase(before, state)]
        if events:
            self.file.append(*(self._without_secrets(event, unit) for event in events))

    @staticmethod
    def _without_secrets(event: HistoryEvent, unit: "ServiceUnit") -> HistoryEvent:
        """Return the event without the secrets of the service's environment; without a text if that is unknown."""
        if not event.text:
            return event
        if unit.plan is None and event.reason not in _BY_ITSELF:
            return msgspec.structs.replace(event, text="")
        from toombos_cli.base.redaction import Redactor, secrets_of  # not needed by a healthy system

        redactor = Redactor(secrets_of(unit.plan.environment) if unit.plan else ())
        return msgspec.structs.replace(event, text=one_line(redactor.text(event.text), limit=_LONGEST_TEXT))


def _now_ms() -> int:
    return int(time.time() * 1000)


def _end(before: ServiceState, state: ServiceState) -> Iterator[HistoryEvent]:
    """Yield the end of its process, if it was not a command that ended it."""
    end = state.last_end
    if end is not None and end != before.last_end and before.pid:
        kind = EventKind.EXITED if end.reason in _BY_ITSELF else EventKind.STOPPED
        yield _because(end, kind, state, pid=before.pid, at_ms=int(end.at * 1000))


def _kills(ended: EndedProcess | None, state: ServiceState, before: ServiceState) -> Iterator[HistoryEvent]:
    if ended is not None:
        asked = before.phase is Phase.STOPPING or state.phase is Phase.STOPPING
        yield from _killed(ended, ACTOR.get() if asked else SUPERVISOR)


def _killed(ended: EndedProcess, actor: Actor) -> Iterator[HistoryEvent]:
    for killed in ended.killed:
        program = os.path.basename(killed.command.split(" ", 1)[0])  # noqa: PTH119  (its arguments may be secret)
        yield HistoryEvent(
            at_ms=_now_ms(),
            event=EventKind.KILLED,
            service=ended.service,
            reason=EventReason.COMMAND if actor is not SUPERVISOR else None,
            signal="SIGKILL",
            text=f"{program or 'it'} did not end within {seconds(ended.grace_period_s)} of {ended.stop_signal}",
            by=actor.by,
            uid=actor.uid,
            pid=killed.pid,
        )


def _start(before: ServiceState, state: ServiceState) -> Iterator[HistoryEvent]:
    """Yield the spawn or the adoption of a process."""
    if not state.pid or (state.pid, state.run_id) == (before.pid, before.run_id):
        return
    if state.adopted:
        name = state.service.name
        yield HistoryEvent(at_ms=_now_ms(), event=EventKind.ADOPTED, service=name, by=BY_SUPERVISOR, pid=state.pid)
    elif state.last_end is not None:
        yield _because(state.last_end, EventKind.RESTARTED, state, pid=state.pid, at_ms=_now_ms())
    else:
        again = ACTOR.get().by == COMMANDS[RestartRequest]
        yield _asked(EventKind.RESTARTED if again else EventKind.STARTED, state, pid=state.pid)


def _phase(before: ServiceState, state: ServiceState) -> Iterator[HistoryEvent]:
    """Yield what the change of the phase means."""
    if before.phase is state.phase:
        return
    name, was_up = state.service.name, before.phase in _UP or state.restarts > 0
    match state.phase:
        case Phase.READY:
            kind = EventKind.RECOVERED if before.phase is Phase.UNHEALTHY else EventKind.READY
            yield HistoryEvent(at_ms=_now_ms(), event=kind, service=name, pid=state.pid)
        case Phase.DONE:
            yield HistoryEvent(at_ms=_now_ms(), event=EventKind.DONE, service=name, text=state.detail, pid=before.pid)
        case Phase.UNHEALTHY:
            yield HistoryEvent(
                at_ms=_now_ms(),
                event=EventKind.UNHEALTHY,
                service=name,
                reason=EventReason.UNHEALTHY,
                text=state.detail,
                pid=state.pid,
            )
        case Phase.CRASH_LOOP | Phase.FAILED:
            failed = EventKind.GAVE_UP if was_up else EventKind.FAILED
            kind = EventKind.CRASH_LOOP if state.phase is Phase.CRASH_LOOP else failed
            reason = FAILURES[state.failure_kind] if state.failure_kind else None
            if reason is EventReason.UNKNOWN and state.last_end is not None:
                yield _because(state.last_end, kind, state, pid=0, at_ms=_now_ms())
            else:
                yield HistoryEvent(
                    at_ms=_now_ms(), event=kind, service=name, reason=reason, text=state.detail, by=BY_SUPERVISOR
                )
        case Phase.STOPPED if state.last_end == before.last_end:
            yield _asked(EventKind.STOPPED, state, pid=before.pid)


def _asked(kind: EventKind, state: ServiceState, *, pid: int) -> HistoryEvent:
    """Return an event that the current actor has asked for."""
    actor = ACTOR.get()
    reason = EventReason.SUPERVISOR_ENDS if actor is SUPERVISOR else EventReason.COMMAND
    return HistoryEvent(
        at_ms=_now_ms(), event=kind, service=state.service.name, reason=reason, by=actor.by, uid=actor.uid, pid=pid
    )


def _because(end: End, kind: EventKind, state: ServiceState, *, pid: int, at_ms: int) -> HistoryEvent:
    """Return an event that the end of a process has caused."""
    return HistoryEvent(
        at_ms=at_ms,
        event=kind,
        service=state.service.name,
        reason=end.reason,
        exit_code=end.exit_code,
        signal=end.signal,
        file=end.file,
        text=end.text,
        by="" if kind is EventKind.EXITED else BY_SUPERVISOR,
        pid=pid,
    )
