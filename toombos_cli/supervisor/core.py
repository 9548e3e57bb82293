"""The supervisor: owns the units, reaps every child, writes the state, and exits when nothing is left to do."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection
from pathlib import Path

from toombos_cli import processes
from toombos_cli.base import locks
from toombos_cli.base.fixes import toombos
from toombos_cli.base.trust import NotTrustedError
from toombos_cli.project import alert_spool
from toombos_cli.project.own_processes import Survivor, find_survivors
from toombos_cli.project.state import (
    EnvFileStamp,
    FailureKind,
    Phase,
    RunDirectory,
    ServiceState,
    SystemState,
    read_state,
)
from toombos_cli.project.task_runs import at_rest
from toombos_cli.supervisor import handle_requests
from toombos_cli.supervisor.alert_triggers import Alarms
from toombos_cli.supervisor.asking import Asking
from toombos_cli.supervisor.dependents import Dependents
from toombos_cli.supervisor.file_watch import FileWatches
from toombos_cli.supervisor.history_keeper import ACTOR, Actor, HistoryKeeper
from toombos_cli.supervisor.process_look import SharedLooks
from toombos_cli.supervisor.protocol import (
    Done,
    EndedProcess,
    Progress,
    Request,
    ServiceFailure,
    StopRequest,
    SystemPlan,
)
from toombos_cli.supervisor.resource_use import ResourceMeter
from toombos_cli.supervisor.state_file import StateFile
from toombos_cli.supervisor.tree import StubbornError, Tree
from toombos_cli.supervisor.unit import ServiceUnit
from toombos_cli.supervisor.unit_record import without_secrets

Listener = Callable[[Progress], None]
_LEFTOVER_GRACE_S = 2.0
_UNDESCRIBED_GRACE_S = 10.0


class Supervisor:
    """One project's supervisor. It runs in one event loop; only the care for the logs and the output of a foreground
    start have threads.

    `lock` is the descriptor that holds the project's supervisor lock; its owner closes it at the end.
    """

    def __init__(self, project: Path, lock: int) -> None:
        self.run = RunDirectory(project)
        self._lock = lock
        self._replaced = False
        self.is_homeless = False
        """Whether the project's directory was removed: nothing is written then, lest it comes back."""
        self.units: dict[str, ServiceUnit] = {}
        self.finished = asyncio.Event()
        self.plan: SystemPlan | None = None
        self._state_file = StateFile(self.run)
        self._alarms = Alarms(project)
        self._dependents = Dependents()
        self._history = HistoryKeeper(project)
        self._watches = FileWatches(lambda: self.run.project, self.note)
        self._ended_by: int | None = None
        self._children: dict[int, tuple[subprocess.Popen[bytes], Callable[[int], None]]] = {}
        self._listeners: set[Listener] = set()
        self._requests = 0
        self._notes: dict[str, str] = {}
        self._undescribed: dict[str, Survivor] = {}
        self._ended: list[EndedProcess] = []  # of an earlier supervisor's processes, not yet reported
        self._stubborn: list[ServiceFailure] = []  # those that did not end
        self.figures = ResourceMeter()
        self.looks = SharedLooks(self._leaders)
        self._started_at = time.time()
        self._identity = processes.identify(os.getpid())
        self._settings: tuple[str | None, bool, EnvFileStamp] = (
            None,
            False,
            EnvFileStamp(path="", mtime_ns=0, sha256=""),
        )

    async def begin(self) -> None:
        """Adopt the services that an earlier supervisor left running, and end leftovers of those that ended.

        A service that the state does not describe waits for the plan of a request.
        """
        processes.become_subreaper()
        self._history.supervisor_started()
        os.chdir(self.run.project)  # so that a rename is noticed, and where the directory is then
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)
        self._reap()
        old = read_state(self.run.project)
        if old is not None:
            self._settings = (old.mode, old.dry_run, old.env_file)
            resting = {name: at_rest(state, self.run, desired=False) for name, state in old.services.items()}
            self.units = {name: ServiceUnit(state, None, self) for name, state in resting.items()}
            for name, unit in self.units.items():
                with contextlib.suppress(OSError):  # then a new record begins
                    self.run.take_over_rotation(name, unit.log)
        for survivor in find_survivors(self.run.project, old):
            if not survivor.adoptable:
                await self._end_survivor(survivor, _LEFTOVER_GRACE_S, leftover=True)
            elif survivor.service in self.units:
                self.units[survivor.service].adopt(survivor.leader, survivor.run_id)
            else:
                self._undescribed[survivor.service] = survivor
        if not any(unit.is_active for unit in self.units.values()):  # the next start is one of the whole system
            for unit in self.units.values():
                unit.begin_anew()

    async def end(self) -> None:
        """Stop everything, dependents first, then every process that is still a child of this one.

        Do nothing if another supervisor has taken over.
        """
        if self._replaced:
            return
        # The others keep their phase: a failed or looping service must not read "stopped" afterwards.
        await handle_requests.stop(self, tuple(name for name, unit in self.units.items() if unit.is_active))
        own = os.getpid()
        for row in processes.process_table().values():
            if row.parent == own and not row.zombie and row.pid not in alert_spool.sender_pids():
                leader = processes.identify(row.pid)
                if leader is not None:
                    with contextlib.suppress(StubbornError):
                        await Tree(leader, "no tag").end(Asking(leader.pid, _LEFTOVER_GRACE_S), self.looks)
        self._reap()
        await self._watches.end()
        if not self.is_homeless:
            self._history.supervisor_ended(self._ended_by)
        with contextlib.suppress(NotTrustedError):  # then it is not our socket
            self.run.socket.unlink(missing_ok=True)

    def _leaders(self) -> tuple[int, ...]:
        return tuple(unit.running.tree.leader.pid for unit in self.units.values() if unit.running is not None)

    async def end_undescribed(self, names: Collection[str]) -> None:
        """End the named services (() means all) that run and have no unit, because nothing describes them."""
        for name in [name for name in self._undescribed if not names or name in names]:
            await self._end_survivor(self._undescribed.pop(name), _UNDESCRIBED_GRACE_S, leftover=False)

    async def _end_survivor(self, survivor: Survivor, grace_s: float, *, leftover: bool) -> None:
        """End processes that belong to no unit. The next reply reports them; if they stay, `status` warns of it."""
        pid = survivor.leader.pid
        try:
            killed = await Tree(survivor.leader, survivor.run_id).end(Asking(pid, grace_s), self.looks)
        except StubbornError as error:
            message = f"a process of an earlier start {error}"
            self.note(f"leftover {pid}", message)
            failure = ServiceFailure(service=survivor.service, kind=FailureKind.STUBBORN, message=message)
            self._stubborn.append(failure)
        else:
            ended = EndedProcess(
                service=survivor.service,
                pid=pid,
                leftover=leftover,
                stop_signal="SIGTERM",
                grace_period_s=grace_s,
                killed=killed,
            )
            self._ended.append(ended)
            self._history.leftover_ended(ended)

    async def carry_out(self, request: Request, listener: Listener, *, uid: int | None) -> Done:
        """Carry out a request and return the final reply; report progress to `listener` meanwhile.

        `uid` is the user who asks, None if the system does not say.
        """
        ACTOR.set(Actor.of(request, uid))
        self._requests += 1
        self._listeners.add(listener)
        try:
            outcome = await handle_requests.carry_out(self, request)
            self.figures.take(self.units)
            earlier, self._ended = tuple(self._ended), []
            ended = (*earlier, *outcome.ended)
            is_stop = isinstance(request, StopRequest)
            return Done(
                state=self.state(),
                failures=(*outcome.failures, *(self._stubborn if is_stop else ())),
                started=outcome.started,
                skipped=outcome.skipped,
                stopped=tuple(dict.fromkeys(p.service for p in ended if is_stop or not p.leftover)),
                ended=ended,
                watches=bool(self._watches),
            )
        finally:
            self._listeners.discard(listener)
            self._requests -= 1
            self.leave_if_idle()

    def listen(self, listener: Listener) -> None:
        """Report the progress of all services to `listener` from now on, whichever request causes it."""
        self._listeners.add(listener)

    def hurry(self) -> None:
        """Kill what is being ended without waiting for the rest of its grace period."""
        for unit in self.units.values():
            unit.hurry()

    def take(self, plan: SystemPlan) -> None:
        """Create a unit for each service of the plan that has none, and keep the plan's settings."""
        self.plan = plan
        self._settings = (plan.mode, plan.dry_run, plan.env_file)
        for name, planned in plan.services.items():
            unit = self.units.get(name)
            if unit is None:
                idle = ServiceState(service=without_secrets(planned.service), desired=False, phase=Phase.STOPPED)
                unit = self.units[name] = ServiceUnit(idle, None, self)
            unit.plan = unit.plan or planned
            unit.latest_plan = planned
            survivor = self._undescribed.pop(name, None)
            if survivor is not None:
                unit.adopt(survivor.leader, survivor.run_id)
            self._watches.note(unit)

    @property
    def is_idle(self) -> bool:
        """Whether there is no request, nothing runs, and no change of a file starts anything."""
        return self._requests == 0 and not self._watches and not any(unit.is_active for unit in self.units.values())

    def leave_by(self, number: int) -> None:
        """End the supervisor because of a signal."""
        self._ended_by = self._ended_by or number
        self.finished.set()

    def leave_if_idle(self) -> None:
        """End the supervisor if there is nothing left to do."""
        if self.is_idle:
            self.finished.set()

    def holds_project(self) -> bool:
        """Report whether this is the project's supervisor; recreate lock and state if `run/` was removed.

        False if another supervisor was started meanwhile: it owns the services now, and this one exits.
        """
        if self._replaced:
            return False
        try:
            if not locks.is_at(self.run.supervisor_lock, self._lock) and not self._follow_the_project():
                self.run.create()
                new = locks.take(self.run.supervisor_lock)
                if new is None:
                    self._replaced = True
                    self.finished.set()
                    return False
                os.dup2(new, self._lock, inheritable=False)
                os.close(new)
                self._state_file.write(self.state())
        except (OSError, NotTrustedError):  # retried soon
            pass
        return True

    def _follow_the_project(self) -> bool:
        """Report whether the project's directory was renamed or removed, and in the first case work at its new place.

        Lock, socket and state moved with it. The services still run from the old place, which nothing creates again.
        """
        old = self.run.project
        try:
            place = Path.cwd()
        except FileNotFoundError:
            self.is_homeless = not old.exists()
            return self.is_homeless
        if old.exists() and old.samefile(place):
            return False  # only run/ was removed
        self.run = RunDirectory(place)
        self._state_file = StateFile(self.run)
        self._alarms.project = place
        self._history.move_to(place)
        restart = toombos(place, "restart").command
        self.note("place", f"the project was moved from {old}; its services still run from there: {restart}")
        return locks.is_at(self.run.supervisor_lock, self._lock)

    def why_not_restarted(self, place: Path) -> str | None:
        """Return why a service that was started when the project was at `place` is not restarted, or None."""
        self.holds_project()
        if self.is_homeless:
            return f"the project's directory {self.run.project} was removed"
        return None if place == self.run.project else f"the project was moved to {self.run.project}"

    def _write_state(self) -> None:
        if self.holds_project() and not self.is_homeless:
            self._state_file.write(self.state())

    def changed(self, unit: ServiceUnit) -> None:
        """Write the state and notify the listeners; do nothing if another supervisor has taken over."""
        if not self.holds_project():
            return
        if all(other.place == self.run.project for other in self.units.values() if other.is_active):
            self._notes.pop("place", None)
        if not self.is_homeless:
            self._history.note(unit)  # first: who reads the state may then read why it is so
            self._state_file.write(self.state())
            self._alarms.note(unit.state)
            self._watches.note(unit)
        self._dependents.note(unit, self.units)
        progress = Progress(service=unit.name, phase=unit.state.phase, detail=unit.state.detail)
        for listener in tuple(self._listeners):
            listener(progress)

    def note(self, topic: str, warning: str | None) -> None:
        """Set the warning of `status` on this topic, or remove it with None."""
        if self._notes.get(topic) != warning:
            self._notes.pop(topic, None)
            if warning:
                self._notes[topic] = warning
            self._write_state()

    def write_again(self) -> None:
        """Write the state again if the last write failed, for example because the disk was full."""
        if self._state_file.problem:
            self._write_state()
        self._history.file.write_waiting()

    def state(self) -> SystemState:
        """Return the whole current state."""
        mode, dry_run, env_file = self._settings
        return SystemState(
            boot_id=processes.boot_id(),
            pid_namespace=processes.pid_namespace(),
            supervisor_pid=os.getpid(),
            supervisor_start_ticks=self._identity.start_ticks if self._identity else 0,
            dry_run=dry_run,
            mode=mode,
            started_at=self._started_at,
            env_file=env_file,
            services={name: unit.state for name, unit in self.units.items()},
            warnings=(*filter(None, [self._state_file.problem, self._history.file.problem]), *self._notes.values()),
        )

    def watch_child(self, child: "subprocess.Popen[bytes]", ended: Callable[[int], None]) -> None:
        """Call `ended(return code)` once, when the child has ended and was reaped."""
        self._children[child.pid] = (child, ended)
        self._reap()

    def _reap(self) -> None:
        """Reap every exited child: services, and orphans that were reparented to us as their subreaper."""
        while (pid := self._next_ended()) is not None:
            child, ended = self._children.pop(pid, (None, None))
            if child is not None and ended is not None:
                ended(child.wait())
            else:
                os.waitpid(pid, 0)

    @staticmethod
    def _next_ended() -> int | None:
        try:
            result = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return None
        return result.si_pid if result is not None else None
