"""`start --foreground`: the same supervisor in the command's own process, with the services' output on stdout.

For containers, where it may be PID 1: it reaps every orphan and stops everything in order on SIGTERM.
"""

import asyncio
import os
import signal
from functools import partial

from toombos_cli.base import locks
from toombos_cli.base.errors import LockedError, OperationError
from toombos_cli.base.fixes import here
from toombos_cli.logs.follower import Follower
from toombos_cli.logs.output_thread import OnLine, Showing
from toombos_cli.manifest.model import Manifest
from toombos_cli.project.own_processes import unsupervised_state
from toombos_cli.project.service_logs import service_logs
from toombos_cli.project.state import RunDirectory, read_state
from toombos_cli.supervisor.core import Supervisor
from toombos_cli.supervisor.lifecycle import supervise
from toombos_cli.supervisor.operations import OnProgress, change_report
from toombos_cli.supervisor.ordering import default_names, with_dependencies
from toombos_cli.supervisor.plan import build_plan
from toombos_cli.supervisor.protocol import Done, StartRequest
from toombos_cli.supervisor.reports import ChangeReport
from toombos_cli.supervisor.running_system import mode_to_join


def run_foreground(
    manifest: Manifest,
    names: tuple[str, ...],
    *,
    mode: str | None,
    timeout_s: float | None,
    on_line: OnLine,
    on_progress: OnProgress,
) -> tuple[ChangeReport, int | None]:
    """Run the services until a signal, until `toombos stop`, or until none is left.

    Return the result of the start (at once if it failed), and the signal that ended the run, if any. Raises
    LockedError if another supervisor has the project, RefusedError if the services that an earlier one left running
    are in another mode, ConfigurationError for an unreadable `.env`.
    """
    project = manifest.project
    wanted = names or default_names(manifest.services)
    lock = _lock(RunDirectory(project))
    try:
        before = unsupervised_state(project, manifest.services)
        plan = build_plan(manifest, mode=mode_to_join(manifest, before, mode))
        request = StartRequest(plan=plan, names=wanted, timeout_s=timeout_s, all_or_nothing=True)
        run = _Foreground(Supervisor(project, lock), request, on_line, on_progress)
        run.shown = with_dependencies(manifest.services, wanted)
        asyncio.run(run.main())
    finally:
        os.close(lock)
    if run.showing is not None:
        run.showing.end()
    if run.done is None:
        raise OperationError("interrupted before the services were ready; all of them were stopped")
    return change_report(run.done, manifest.services, project, run.shown, manifest=manifest), run.ended_by


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
    def __init__(self, supervisor: Supervisor, request: StartRequest, on_line: OnLine, on_progress: OnProgress) -> None:
        self.done: Done | None = None
        self.ended_by: int | None = None
        self.shown: tuple[str, ...] = ()
        self.showing: Showing | None = None
        self._supervisor = supervisor
        self._request = request
        self._on_line = on_line
        self._on_progress = on_progress

    async def main(self) -> None:
        """Supervise, and show the output meanwhile."""
        supervisor = self._supervisor

        def end(number: signal.Signals) -> None:
            self.ended_by = self.ended_by or number
            supervisor.leave_by(number)

        await supervise(supervisor, None, on_signal=end, alongside=self._start_and_show(supervisor))

    async def _start_and_show(self, supervisor: Supervisor) -> None:
        services = self._request.plan.services
        logs, _ = service_logs(supervisor.run, {n: services[n].service for n in self.shown}, None)
        followers = {name: Follower(log) for name, log in logs.items()}
        end = partial(asyncio.get_running_loop().call_soon_threadsafe, supervisor.finished.set)
        self.showing = Showing(followers, self._on_line, end)
        self.done = await supervisor.carry_out(self._request, self._on_progress, uid=os.getuid())
        if self.done.failures:
            supervisor.finished.set()
