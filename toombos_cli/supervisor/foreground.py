"""`start --foreground`: the same supervisor in the command's own process, with the services' output on stdout.

For containers, where it may be PID 1: it reaps every orphan and stops everything in order on SIGTERM.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from toombos_cli.base import locks
from toombos_cli.base.errors import LockedError, OperationError
from toombos_cli.base.fixes import here
from toombos_cli.logs.follower import Follower
from toombos_cli.logs.output_thread import OnLine, Showing
from toombos_cli.manifest.model import Manifest
from toombos_cli.project.own_processes import unsupervised_state
from toombos_cli.project.service_logs import service_logs
from toombos_cli.project.state import Phase, RunDirectory, read_state
from toombos_cli.supervisor.core import Supervisor
from toombos_cli.supervisor.lifecycle import supervise
from toombos_cli.supervisor.operations import change_report
from toombos_cli.supervisor.ordering import default_names, with_dependencies
from toombos_cli.supervisor.plan import build_plan
from toombos_cli.supervisor.protocol import Done, Progress, StartRequest
from toombos_cli.supervisor.reports import ChangeReport
from toombos_cli.supervisor.running_system import mode_to_join

_ECHO_S = 0.5
"""A second Ctrl-C so soon after the first is the same one: what runs this command may pass on what it gets itself."""
_NOT_FINAL = frozenset({Phase.STARTING, Phase.STOPPING})
_UP = frozenset({Phase.READY, Phase.UNHEALTHY})
_FAILED = frozenset({Phase.FAILED, Phase.CRASH_LOOP})


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """What shows a run. All of it is called in one thread, which may stall.

    `on_change` gets a service's new phase, `on_ready` the result of a start that has succeeded, and `on_interrupt` is
    called when the services are being stopped because of a Ctrl-C.
    """

    on_line: OnLine
    on_change: Callable[[Progress], object]
    on_ready: Callable[[ChangeReport], object]
    on_interrupt: Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForegroundRun:
    """The result of a run: that of its start, None if a signal ended it before; that signal; what failed later."""

    start: ChangeReport | None
    ended_by: int | None = None
    failed: tuple[str, ...] = ()


def run_foreground(
    manifest: Manifest,
    names: tuple[str, ...],
    *,
    mode: str | None,
    timeout_s: float | None,
    display: Display,
) -> ForegroundRun:
    """Run the services until a signal, until `toombos stop`, or until none is left, or until the start has failed.

    Raises LockedError if another supervisor has the project, RefusedError if the services that an earlier one left
    running are in another mode, ConfigurationError for an unreadable `.env`.
    """
    project = manifest.project
    wanted = names or default_names(manifest.services)
    lock = _lock(RunDirectory(project))
    try:
        before = unsupervised_state(project, manifest.services)
        plan = build_plan(manifest, mode=mode_to_join(manifest, before, mode))
        request = StartRequest(plan=plan, names=wanted, timeout_s=timeout_s, all_or_nothing=True)
        shown = with_dependencies(manifest.services, wanted)

        def report(done: Done) -> ChangeReport:
            return change_report(done, manifest.services, project, shown, manifest=manifest)

        run = _Foreground(Supervisor(project, lock), request, shown, display, report)
        asyncio.run(run.main())
    finally:
        os.close(lock)
    return run.result()


def _lock(run: RunDirectory) -> int:
    try:
        run.create()
        lock = locks.take(run.supervisor_lock)
    except OSError as error:
        raise OperationError(f"cannot be written: {error.strerror}", where=str(error.filename or run.path)) from None
    if lock is None:
        state = read_state(run.project)
        who = f"pid {state.supervisor_pid}" if state else "another process"
        raise LockedError(f"a supervisor is already running: {who}", where=str(run.supervisor_lock), hint=here("stop"))
    return lock


class _Foreground:
    def __init__(
        self,
        supervisor: Supervisor,
        request: StartRequest,
        shown: tuple[str, ...],
        display: Display,
        report: Callable[[Done], ChangeReport],
    ) -> None:
        self._supervisor = supervisor
        self._request = request
        self._shown = shown
        self._display = display
        self._report = report
        self._showing: Showing | None = None
        self._start: ChangeReport | None = None
        self._ended_by: int | None = None
        self._interrupted_at = 0.0
        self._phases: dict[str, str] = {}

    async def main(self) -> None:
        """Supervise, and show the output meanwhile."""
        await supervise(self._supervisor, None, on_signal=self._end, alongside=self._start_and_show())

    def result(self) -> ForegroundRun:
        """Return how the run went, once everything has stopped. Raises what showing it raised."""
        try:
            if self._showing is not None:
                self._showing.end()
        except OSError:
            if self._ended_by is None:
                raise
            # a signal has come because the terminal was closed
        if self._start is None and self._ended_by is None:
            raise OperationError("interrupted before the services were ready; all of them were stopped")
        units = self._supervisor.units
        failed = tuple(
            name
            for name in self._shown
            if name in units and units[name].state.phase in (Phase.FAILED, Phase.CRASH_LOOP)
        )
        return ForegroundRun(start=self._start, ended_by=self._ended_by, failed=failed)

    def _end(self, number: signal.Signals) -> None:
        now = time.monotonic()
        if self._ended_by is None:
            self._ended_by, self._interrupted_at = number, now
            self._supervisor.leave_by(number)
            if self._showing is not None and number == signal.SIGINT:
                self._showing.soon(self._display.on_interrupt)
        elif number == signal.SIGINT and now - self._interrupted_at >= _ECHO_S:
            self._supervisor.hurry()

    async def _start_and_show(self) -> None:
        supervisor, services = self._supervisor, self._request.plan.services
        logs, _ = service_logs(supervisor.run, {n: services[n].service for n in self._shown}, None)
        followers = {name: Follower(log) for name, log in logs.items()}
        end = partial(asyncio.get_running_loop().call_soon_threadsafe, supervisor.finished.set)
        self._showing = Showing(followers, self._display.on_line, end)
        supervisor.listen(self._note)
        done = await supervisor.carry_out(self._request, lambda _: None, uid=os.getuid())
        self._start = self._report(done)
        if done.failures:
            supervisor.finished.set()
        else:
            self._showing.soon(partial(self._display.on_ready, self._start))

    def _note(self, change: Progress) -> None:
        """Show a service's new phase, if it is final, or one that it should have left behind."""
        before = self._phases.get(change.service)
        self._phases[change.service] = change.phase
        falls = change.phase == Phase.STARTING and before in _UP
        ends = change.phase not in _NOT_FINAL and before is not None
        if self._showing is not None and change.phase != before and (falls or ends):
            self._showing.soon(partial(self._display.on_change, change))
