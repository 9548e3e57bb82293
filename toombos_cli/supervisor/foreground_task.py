"""`run NAME`: one task in the foreground of the command, with its terminal, recorded as the task's last run."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from toombos_cli import processes
from toombos_cli.base.errors import LockedError, OperationError, Problem
from toombos_cli.base.fixes import here
from toombos_cli.base.results import Report, Verdict
from toombos_cli.base.text import how_it_ended, seconds, signal_name
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.history import EventKind, HistoryEvent, history_path
from toombos_cli.project.state import EventReason, FailureKind, Phase, RunDirectory, SystemState
from toombos_cli.project.task_runs import TaskRun, add_run, digest_of_inputs
from toombos_cli.supervisor import client, spawning
from toombos_cli.supervisor.history_file import HistoryFile
from toombos_cli.supervisor.history_keeper import COMMANDS
from toombos_cli.supervisor.plan import build_plan
from toombos_cli.supervisor.protocol import ServicePlan, SystemPlan, TaskRanRequest
from toombos_cli.supervisor.running_system import mode_to_join, present_state
from toombos_cli.supervisor.spawning import CannotStartError

_LOOK_S = 0.02
_REACHED = {
    "started": frozenset({Phase.STARTING, Phase.READY, Phase.UNHEALTHY, Phase.UNSUPERVISED, Phase.DONE}),
    "ready": frozenset({Phase.READY, Phase.UNHEALTHY, Phase.UNSUPERVISED}),
    "completed": frozenset({Phase.DONE}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRunReport(Report):
    """How a task ended; `exit_code_of_task` is negative for a signal, None at its time limit."""

    kind: ClassVar[str] = "task_run"

    task: str
    succeeded: bool
    exit_code_of_task: int | None
    took_s: float
    error: str = ""
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """PASS if it ended with exit code 0."""
        return Verdict.PASS if self.succeeded else Verdict.ERROR

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Why it has not succeeded."""
        return () if self.succeeded else (Problem(message=self.error, where=self.task),)


def run_task(
    manifest: Manifest, name: str, arguments: tuple[str, ...], *, mode: str | None, output: int | None
) -> TaskRunReport:
    """Run a task to its end, also while the system runs; `output` replaces its stdout.

    Raises OperationError if it cannot be started or what it depends on does not run, LockedError if it runs already,
    RefusedError if the system runs in another mode, ConfigurationError for an unreadable `.env`.
    """
    service = manifest.services[name]
    before = present_state(manifest.project, manifest.services)
    plan = build_plan(manifest, mode=mode_to_join(manifest, before, mode))
    planned = plan.services[name]
    _refuse_without_dependencies(service, before)
    inputs = digest_of_inputs(service) if service.inputs else ""
    run = RunDirectory(manifest.project)
    run.create()
    history = HistoryFile(history_path(manifest.project))
    started_at, began = time.time(), time.monotonic()
    exit_code, killed = _run(planned, run, arguments, output, history)
    ended = TaskRun(
        started_at=started_at,
        took_s=round(time.monotonic() - began, 2),
        exit_code=exit_code,
        succeeded=exit_code == 0,
        fingerprint=planned.fingerprint,
        inputs=inputs,
        has_arguments=bool(arguments),
    )
    limit = f"not completed within {seconds(service.timeout_s)}{_forced(service, killed)}"
    history.append(_end_event(name, exit_code, limit))
    return TaskRunReport(
        task=name,
        succeeded=ended.succeeded,
        exit_code_of_task=exit_code,
        took_s=ended.took_s,
        error="" if exit_code == 0 else limit if exit_code is None else f"its process {how_it_ended(exit_code)}",
        notes=tuple(filter(None, (*_recorded(run, plan, name, ended), history.problem))),
    )


def _event(name: str, kind: EventKind, reason: EventReason | None, **details: Any) -> HistoryEvent:
    at_ms, uid = int(time.time() * 1000), os.getuid()
    by = COMMANDS[TaskRanRequest]
    return HistoryEvent(at_ms=at_ms, event=kind, service=name, reason=reason, by=by, uid=uid, **details)


def _end_event(name: str, exit_code: int | None, limit: str) -> HistoryEvent:
    """Return the event of a task's end; `exit_code` is None at its time limit."""
    if exit_code == 0:
        return _event(name, EventKind.DONE, None)
    if exit_code is None:
        return _event(name, EventKind.FAILED, EventReason.NOT_READY, text=limit)
    if exit_code < 0:
        return _event(name, EventKind.FAILED, EventReason.SIGNAL, signal=signal_name(-exit_code))
    return _event(name, EventKind.FAILED, EventReason.EXIT_CODE, exit_code=exit_code)


def _refuse_without_dependencies(service: Service, before: SystemState | None) -> None:
    known = before.services if before else {}
    missing = [
        name
        for name in service.depends_on
        if name not in known or known[name].phase not in _REACHED[service.waits_for(name)]
    ]
    if missing:
        said = ", ".join(f"{name} is not {service.waits_for(name)}" for name in missing)
        raise OperationError(f"it cannot run yet: {said}", where=service.name, hint=here("start", *missing))


def _run(
    planned: ServicePlan, run: RunDirectory, arguments: tuple[str, ...], output: int | None, history: HistoryFile
) -> tuple[int | None, tuple[str, ...]]:
    """Return the exit code, or None if its time was up, and what had to be killed then.

    Whatever ends this command ends the task, too.
    """
    child, name = None, planned.service.name
    try:
        with _signals_deferred():
            child = _spawned(planned, run, arguments, output)
            history.append(_event(name, EventKind.STARTED, EventReason.COMMAND, pid=child.pid))
        return _waited_for(child, planned.service)
    except BaseException:
        if child is not None:
            text = "interrupted" + _forced(planned.service, _end(child, planned.service))
            history.append(_event(name, EventKind.STOPPED, EventReason.COMMAND, text=text, pid=child.pid))
        raise


@contextlib.contextmanager
def _signals_deferred() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait for the end of the block: in the middle of a spawn, the child would be lost."""
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda sent, _: came.append(sent))
        for number in (signal.SIGINT, signal.SIGTERM)
        if callable(signal.getsignal(number))  # the child would not inherit that one is ignored
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for sent in came:
        signal.raise_signal(sent)


def _spawned(
    planned: ServicePlan, run: RunDirectory, arguments: tuple[str, ...], output: int | None
) -> "subprocess.Popen[bytes]":
    sys.stdout.flush()
    try:
        spawning.check(planned)
        return spawning.spawn_in_foreground(planned, run, arguments, output)
    except CannotStartError as error:
        failure = error.failure
        kind = LockedError if failure.kind is FailureKind.LOCK else OperationError
        raise kind(failure.message, where=failure.service, hint=failure.hint) from None


def _waited_for(child: "subprocess.Popen[bytes]", service: Service) -> tuple[int | None, tuple[str, ...]]:
    """Return the exit code, or None if its time was up, and what had to be killed then.

    After Ctrl-C, which it got too, it may end in order.
    """
    try:
        return child.wait(service.timeout_s or None), ()
    except subprocess.TimeoutExpired:
        return None, _end(child, service)
    except KeyboardInterrupt:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(service.grace_period_s)
        raise


def _end(child: "subprocess.Popen[bytes]", service: Service) -> tuple[str, ...]:
    """Ask the task and its descendants to end, kill what does not (after a Ctrl-C at once), and return those."""
    tree = processes.descendants([child.pid], processes.process_table())
    asked = {identity: processes.named(identity.pid) for pid in tree if (identity := processes.identify(pid))}
    for identity in asked:
        processes.send_signal(identity, signal.Signals[f"SIG{service.stop_signal}"])
    deadline = time.monotonic() + service.grace_period_s
    with contextlib.suppress(KeyboardInterrupt):
        while any(map(processes.is_alive, asked)) and time.monotonic() < deadline:
            child.poll()
            time.sleep(_LOOK_S)
    left = [identity for identity in asked if processes.is_alive(identity)]
    table = processes.process_table()
    for pid in processes.descendants([identity.pid for identity in left], table):  # some may have been spawned since
        if identity := processes.identify(pid):
            asked.setdefault(identity, processes.named(pid))
            processes.send_signal(identity, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(service.grace_period_s)
    return tuple(asked[identity] for identity in left)


def _forced(service: Service, killed: tuple[str, ...]) -> str:
    """Return the end of a sentence: what was killed, and when; "" if nothing was."""
    asked = f"did not end within {service.grace_period_s:g} s of SIG{service.stop_signal} and was killed"
    return f"; {', '.join(killed)} {asked}" if killed else ""


def _recorded(run: RunDirectory, plan: SystemPlan, name: str, ended: TaskRun) -> tuple[str, ...]:
    """Record the run, for the supervisor too if there is one; return what went wrong with that."""
    try:
        add_run(run, name, ended)
        client.ask_running(run.project, TaskRanRequest(plan=plan, name=name))
    except OSError as error:
        return (f"the run was not recorded: {run.task_record(name)}: {error.strerror}",)
    except OperationError as error:
        return (f"`status` does not know of the run: {error}",)
    return ()
