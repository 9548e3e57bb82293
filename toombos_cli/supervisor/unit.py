"""One service under supervision: what the supervisor does with it, from a start to a verified stop."""

import asyncio
import time

import msgspec

from toombos_cli import processes
from toombos_cli.project.state import End, EventReason, FailureKind, Phase, ServiceState
from toombos_cli.project.task_runs import at_rest
from toombos_cli.supervisor.life import Life
from toombos_cli.supervisor.protocol import EndedProcess, ServiceFailure, ServicePlan
from toombos_cli.supervisor.service_process import Running
from toombos_cli.supervisor.tree import StubbornError
from toombos_cli.supervisor.tree_ending import TreeEnding, after_the_end, ended_main
from toombos_cli.supervisor.unit_record import Surroundings, UnitRecord, without_secrets


class ServiceUnit(UnitRecord):
    """One service; `waiting` counts the requests that wait for its readiness."""

    def __init__(self, state: ServiceState, plan: ServicePlan | None, around: Surroundings) -> None:
        super().__init__(state, plan, around, lambda: around.changed(self))
        self.waiting = 0
        self._ending = TreeEnding(around.looks, around.watch_child)
        self._life = Life(self, self._ending)
        self._living: asyncio.Task[None] | None = None
        self._stop: asyncio.Task[EndedProcess | None] | None = None

    @property
    def ended(self) -> EndedProcess | None:
        """The last process that was ended since the last start."""
        return self._ending.last

    @property
    def is_active(self) -> bool:
        """Whether it has a running process, or one is about to be started."""
        return self._living is not None and not self._living.done()

    def start(self, plan: ServicePlan, *, because: str = "") -> None:
        """Start the service without waiting; `wait_settled` waits for the result. `because`: it is a restart."""
        end = End(at=round(time.time(), 3), reason=EventReason.DEPENDENCY, text=because) if because else None
        self.plan = self.latest_plan = plan
        self.place = self.around.run.project
        self.failure = self._ending.last = None
        self.set(
            service=without_secrets(plan.service),
            fingerprint=plan.fingerprint,
            desired=True,
            phase=Phase.STARTING,
            detail="",
            failure_kind=None,
            restarts=1 if because else 0,
            last_end=end,
            warnings=(),
            last_lines=(),
            wants_dry_run=plan.dry_run,
        )
        self._begin_life(adopted=False)

    def adopt(self, leader: processes.ProcessIdentity, run_id: str) -> None:
        """Take over a process of an earlier supervisor that was proved to be this service's."""
        if run_id != self.state.run_id:  # the state describes another spawn, or none
            self.state = msgspec.structs.replace(
                self.state, ready_after_s=None, restarts=0, last_end=None, log_offset=0, log_file=(0, 0)
            )
        lock = self.around.run.service_lock(self.name)
        self.running = Running(self.service, leader, run_id, lock, log_offset=self.state.log_offset)
        self.set(
            desired=True,
            phase=Phase.STARTING,
            detail="adopted",
            adopted=True,
            run_id=run_id,
            pid=leader.pid,
            start_ticks=leader.start_ticks,
            started_at=time.time() - processes.age_s(leader.start_ticks),
            wants_dry_run=self.plan.dry_run if self.plan else self.state.wants_dry_run,
        )
        self.running.watch()
        self._begin_life(adopted=True)

    def note_log(self, cut: int | None) -> None:
        """Note that this many bytes were cut off the head of the log, or None: it has another content now."""
        offset = 0 if cut is None else max(0, self.state.log_offset - cut)
        if offset != self.state.log_offset:
            if self.running is not None:
                self.running.log_offset = offset
            self.set(log_offset=offset)

    async def stop(self) -> EndedProcess | None:
        """End the whole tree; return its main process, or None if there was none. Concurrent calls share one stop."""
        if self._stop is None or self._stop.done():
            self._stop = asyncio.create_task(self._end(), name=f"stop of {self.name}")
        return await asyncio.shield(self._stop)

    def hurry(self) -> None:
        """Kill what is being ended, now and from now on, without waiting for the rest of its grace period."""
        self._ending.hurry()

    def request_restart(self, reason: str, kind: FailureKind = FailureKind.LIMIT) -> None:
        """Request a restart of the running service; the reason is recorded."""
        if self.running is not None and not self.running.unwanted.done():
            self.running.unwanted.set_result(ServiceFailure(service=self.name, kind=kind, message=reason))

    async def ask_now(self) -> None:
        """Ask the service whether it is still unhealthy; return when it has responded, or after its probe timeout."""
        if self._life.watch is not None and self.state.phase is Phase.UNHEALTHY:
            await self._life.watch.ask_now()

    def begin_anew(self) -> None:
        """Forget how the last start ended, before those that depend on this one look at it."""
        self.failure = None
        if self.state.phase is Phase.DONE:
            self.set(phase=Phase.STOPPED, detail="", ready_after_s=None)

    def look_at_record(self) -> None:
        """Take over how the task ended if a command has run it since."""
        if not self.is_active:
            found = at_rest(self.state, self.around.run)
            self.state = msgspec.structs.replace(found, last_lines=())
            self.set()

    async def restart_for(self, files: str) -> None:
        """End the service if it runs and start it again, because watched files have changed; also one that has failed.

        Do nothing if it was stopped, or could not be started again.
        """
        if self._living is not None:
            if not self._wants_restart_for_files():
                return
            self._living.cancel()
            await asyncio.wait({self._living})
        if not self._wants_restart_for_files():
            return
        self.failure = None
        text = f"{files} changed"
        end = End(at=round(time.time(), 3), reason=EventReason.WATCHED_FILE, text=text, file=files)
        self.set(
            desired=True,
            phase=Phase.STARTING,
            detail=f"{text}; restarting",
            failure_kind=None,
            restarts=self.state.restarts + 1,
            last_end=end,
            last_lines=(),
        )
        self._begin_life(adopted=False)

    def _wants_restart_for_files(self) -> bool:
        stops = self._stop is not None and not self._stop.done()
        return not (stops or self.state.phase in (Phase.STOPPED, Phase.STOPPING) or self._life.why_not_restarted())

    def warn(self, warnings: tuple[str, ...]) -> None:
        """Replace the current warnings."""
        if warnings != self.state.warnings:
            self.set(warnings=warnings)

    def measured(self, cpu_percent: float | None, rss_bytes: int | None) -> None:
        """Record the figures without writing the state."""
        self.state = msgspec.structs.replace(self.state, cpu_percent=cpu_percent, rss_bytes=rss_bytes)

    async def wait_settled(self) -> None:
        """Wait until a start has ended: ready, or not."""
        await self.wait_until(lambda: self.state.phase is not Phase.STARTING)

    def _begin_life(self, *, adopted: bool) -> None:
        self._life = Life(self, self._ending)
        self._living = asyncio.create_task(self._live(adopted=adopted), name=f"life of {self.name}")
        self._living.add_done_callback(lambda _: self.around.leave_if_idle())

    async def _live(self, *, adopted: bool) -> None:
        """Run the service until it is stopped or given up; record in the state how it ended."""
        try:
            await self._life.run(adopted=adopted)
        except StubbornError as error:
            self._stays_alive(error)
        except Exception as error:
            detail = f"a bug in toombos: {type(error).__name__}; see run/supervisor.log"
            self.set(phase=Phase.FAILED, detail=detail, failure_kind=FailureKind.BUG)
            raise

    async def _end(self) -> EndedProcess | None:
        """Cancel the life, end the tree, and record the result; return its main process, or None."""
        if self._living is not None:
            self._living.cancel()
            await asyncio.wait({self._living})
        running = self.running
        was_running = running is not None and await running.tree.is_running(self.around.looks)
        if running is not None and was_running:
            self.set(desired=False, phase=Phase.STOPPING, detail="")
            try:
                ended = await self._ending.end(running, self.latest_service, self.latest_plan)
            except StubbornError as error:
                self._stays_alive(error)
                return ended_main(running, self.latest_service)
            self.rest(Phase.STOPPED, after_the_end(self.service, ended), ())
            return ended
        if self.state.phase is not Phase.STOPPED or self.state.desired:
            self.rest(Phase.STOPPED, "", ())
        return None

    def _stays_alive(self, error: StubbornError) -> None:
        """Record that a process is left, and keep track of it: the next stop tries again."""
        self.failure = ServiceFailure(service=self.name, kind=FailureKind.STUBBORN, message=str(error))
        self.set(phase=Phase.FAILED, detail=str(error), failure_kind=FailureKind.STUBBORN)
