"""One service under supervision: from spawn to readiness, through restarts, to a verified stop."""

import asyncio
import subprocess
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from toombos_cli import processes
from toombos_cli.manifest.tables.expectations import Expectation
from toombos_cli.manifest.tables.service import QUESTIONS, Service
from toombos_cli.project.state import FailureKind, Phase, RestartRecord, RunDirectory, ServiceState
from toombos_cli.supervisor import spawning
from toombos_cli.supervisor.protocol import ServiceFailure, ServicePlan
from toombos_cli.supervisor.readiness import Asker
from toombos_cli.supervisor.restarts import RestartPolicy
from toombos_cli.supervisor.service_process import Running
from toombos_cli.supervisor.spawning import CannotStartError
from toombos_cli.supervisor.tree import StubbornError

_HISTORY = 20


def denies_dry_run(service: str) -> ServiceFailure:
    """Return the failure of a service that was started to run dry and reports that it does not."""
    return ServiceFailure(
        service=service, kind=FailureKind.NOT_DRY_RUN, message="it says that it is not in dry-run mode"
    )


def without_secrets(service: Service) -> Service:
    """Return the service as it is written to the state: variables and arguments, which may be secret, are left out."""
    commands = {
        question: msgspec.structs.replace(asked, command=asked.command[:1])
        for question in QUESTIONS
        if isinstance(asked := getattr(service, question), Expectation)
    }
    return msgspec.structs.replace(service, env={}, default_env={}, command=service.command[:1], **commands)


class Surroundings(Protocol):
    """What a unit needs from the supervisor that owns it."""

    run: RunDirectory

    def changed(self, unit: "ServiceUnit") -> None:
        """Write the unit's new state and notify the listeners."""

    def leave_if_idle(self) -> None:
        """End the supervisor if nothing is left to supervise; called when a life has ended."""

    def watch_child(self, child: "subprocess.Popen[bytes]", ended: Callable[[int], None]) -> None:
        """Call `ended(return code)` once, when the child has ended and was reaped."""


class ServiceUnit:
    """One service. `state` is replaced, never changed; `plan` is for restarts, None if unknown.

    `failure` is why the last start failed; `waiting` counts the requests that wait for readiness.
    """

    def __init__(self, state: ServiceState, plan: ServicePlan | None, around: Surroundings) -> None:
        self.state = state
        self.plan = plan
        self.running: Running | None = None
        self.failure: ServiceFailure | None = None
        self.waiting = 0
        self._around = around
        self._changed = asyncio.Event()
        self._life: asyncio.Task[None] | None = None
        self._stop: asyncio.Task[int] | None = None
        self._policy = RestartPolicy(self.service.restart)

    @property
    def service(self) -> Service:
        """The manifest's table; without a plan, the one in the written state."""
        return self.plan.service if self.plan else self.state.service

    @property
    def name(self) -> str:
        """The service's name."""
        return self.state.service.name

    @property
    def is_active(self) -> bool:
        """Whether it has a running process, or one is about to be started."""
        return self._life is not None and not self._life.done()

    def start(self, plan: ServicePlan) -> None:
        """Start the service without waiting; `wait_settled` waits for the result."""
        self.plan = plan
        self.failure = None
        self._policy = RestartPolicy(plan.service.restart)
        self._set(
            service=without_secrets(plan.service),
            fingerprint=plan.fingerprint,
            desired=True,
            phase=Phase.STARTING,
            detail="",
            failure_kind=None,
            restarts=0,
            restart_history=(),
            warnings=(),
            last_lines=(),
            wants_dry_run=plan.dry_run,
        )
        self._begin_life(adopted=False)

    def adopt(self, leader: processes.ProcessIdentity, run_id: str) -> None:
        """Take over a process of an earlier supervisor that was proved to be this service's."""
        if run_id != self.state.run_id:  # the state describes another spawn, or none
            self.state = msgspec.structs.replace(
                self.state, ready_after_s=None, restarts=0, log_offset=0, log_file=(0, 0)
            )
        lock = self._around.run.service_lock(self.name)
        self.running = Running(self.service, leader, run_id, lock, log_offset=self.state.log_offset)
        self._set(
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
            self._set(log_offset=offset)

    async def stop(self) -> int:
        """End the whole tree; return its main process, or 0 if there was none. Concurrent calls share one stop."""
        if self._stop is None or self._stop.done():
            self._stop = asyncio.create_task(self._end(), name=f"stop of {self.name}")
        return await asyncio.shield(self._stop)

    def request_restart(self, reason: str) -> None:
        """Request a restart of the running service; the reason is recorded."""
        if self.running is not None and not self.running.unwanted.done():
            self.running.unwanted.set_result(reason)

    def refuse(self, failure: ServiceFailure) -> None:
        """Record a failed start of which nothing runs any more."""
        self.failure = failure
        self._give_up(Phase.FAILED, failure.message, failure.last_lines, failure.kind)

    def warn(self, warnings: tuple[str, ...]) -> None:
        """Replace the current warnings."""
        if warnings != self.state.warnings:
            self._set(warnings=warnings)

    def measured(self, cpu_percent: float | None, rss_bytes: int | None) -> None:
        """Record the figures without writing the state."""
        self.state = msgspec.structs.replace(self.state, cpu_percent=cpu_percent, rss_bytes=rss_bytes)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; it is checked after each change of this unit."""
        while not condition():
            await self._changed.wait()

    async def wait_settled(self) -> None:
        """Wait until a start has ended: ready, or not."""
        await self.wait_until(lambda: self.state.phase is not Phase.STARTING)

    def _set(self, **changes: Any) -> None:
        self.state = msgspec.structs.replace(self.state, **changes)
        try:
            self._around.changed(self)
        finally:  # requests that wait for this change must not wait forever
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    def _begin_life(self, *, adopted: bool) -> None:
        self._life = asyncio.create_task(self._live(adopted=adopted), name=f"life of {self.name}")
        self._life.add_done_callback(lambda _: self._around.leave_if_idle())

    async def _live(self, *, adopted: bool) -> None:
        """Run the service until it is stopped or given up; record in the state how it ended."""
        try:
            await self._attempts(adopted=adopted)
        except StubbornError as error:
            self._stays_alive(error)
        except Exception as error:
            detail = f"a bug in toombos: {type(error).__name__}; see run/supervisor.log"
            self._set(phase=Phase.FAILED, detail=detail, failure_kind=FailureKind.BUG)
            raise

    async def _attempts(self, *, adopted: bool) -> None:
        """Make one attempt after the other, with pauses between them."""
        was_ready = adopted and self._was_ready()
        while True:
            failure, exit_code, ready_since = None, None, None
            try:
                running = self.running if adopted and self.running else self._spawn()
                if adopted and was_ready:
                    await self._judge_again(running)
                else:
                    await self._until_ready(running, first=not was_ready)
                was_ready, ready_since = True, time.monotonic()
                end = await self._until_end(running)
                exit_code = running.exit_code
            except CannotStartError as error:
                failure = end = error.failure
            adopted = False
            healthy_s = time.monotonic() - ready_since if ready_since is not None else 0.0
            lines: tuple[str, ...] = ()
            if self.running is not None:
                lines = self.running.last_lines(self.plan.environment if self.plan else {})
                await self.running.tree.end(self.service.grace_period_s)
            if failure is not None and (not was_ready or failure.kind is FailureKind.CONFIGURATION):
                self.failure = msgspec.structs.replace(failure, last_lines=lines)
                self._give_up(Phase.FAILED, end.message, lines, end.kind)
                return
            pause_s = self._pause_before_restart(exit_code, end, lines, healthy_s=healthy_s)
            if pause_s is None:
                return
            await asyncio.sleep(pause_s)

    def _pause_before_restart(
        self, exit_code: int | None, end: ServiceFailure, lines: tuple[str, ...], *, healthy_s: float
    ) -> float | None:
        """Return the seconds until the next attempt, or None if there is none; record which it is in the state."""
        reason = end.message
        if not self._policy.wants_restart(exit_code):
            if exit_code == 0:
                self._give_up(Phase.STOPPED, reason, lines)
            else:
                self._give_up(Phase.FAILED, reason, lines, end.kind)
            return None
        if self.plan is None:
            self._give_up(Phase.FAILED, f"{reason}; not restarted: its environment is unknown", lines, end.kind)
            return None
        pause_s = self._policy.delay_s(time.monotonic(), healthy_s=healthy_s)
        if pause_s is None:
            self._give_up(Phase.CRASH_LOOP, reason, lines, end.kind)
            return None
        record = RestartRecord(at=round(time.time(), 3), reason=reason)
        self._set(
            phase=Phase.STARTING,
            pid=0,
            start_ticks=0,
            cpu_percent=None,
            rss_bytes=None,
            says_dry_run=None,
            detail=f"{reason}; restarting in {pause_s:.1f} s",
            failure_kind=end.kind,
            restarts=self.state.restarts + 1,
            restart_history=(*self.state.restart_history, record)[-_HISTORY:],
            last_lines=lines,
        )
        return pause_s

    def _spawn(self) -> Running:
        """Start a new process. Raises CannotStartError."""
        if self.plan is None:
            raise AssertionError("a unit without a plan is never spawned")
        spawning.check(self.plan)
        run_id = spawning.new_run_id(self._around.run, self.name)
        # Written first: after a crash between here and the next line, the process is found by the tag.
        self._set(
            run_id=run_id,
            phase=Phase.STARTING,
            pid=0,
            start_ticks=0,
            started_at=time.time(),
            ready_after_s=None,
            says_dry_run=None,
        )
        spawned = spawning.spawn(self.plan, self._around.run, run_id)
        lock = self._around.run.service_lock(self.name)
        running = Running(self.service, spawned.identity, run_id, lock, log_offset=spawned.log_offset)
        self.running = running
        self._around.watch_child(spawned.child, running.note_end)
        self._set(
            adopted=False,
            pid=spawned.identity.pid,
            start_ticks=spawned.identity.start_ticks,
            log_offset=spawned.log_offset,
            log_file=spawned.log_file,
            detail="spawned",
            failure_kind=None,
        )
        return running

    def _was_ready(self) -> bool:
        """Return whether the adopted process was ready once, or is too old to be starting still."""
        state = self.state
        recorded = state.ready_after_s is not None or state.restarts > 0
        return recorded or processes.age_s(state.start_ticks) > self.service.startup_timeout_s

    async def _judge_again(self, running: Running) -> None:
        """Set the phase of an adopted process that was ready once: READY or UNHEALTHY, whatever its supervisor saw.

        It is not starting, so no deadline ends it.
        """
        asker = self._asker()
        answer = await asker.ask_again(running)
        if answer is None:
            return
        said = await asker.read_dry_run(running)
        phase = Phase.READY if answer.ok else Phase.UNHEALTHY
        self._set(phase=phase, detail="" if answer.ok else answer.detail, says_dry_run=said)

    async def _until_ready(self, running: Running, *, first: bool) -> None:
        """Wait until our own process is ready. Raises CannotStartError.

        A service that was started to run dry and reports that it does not is not ready. One that was ready before is
        left running: `status` and `health` fail for it.
        """
        already_s = processes.age_s(self.state.start_ticks) if self.state.adopted else 0.0
        asker = self._asker()
        await asker.until_ready(running, self._wait_for, already_s=already_s)
        said = await asker.read_dry_run(running)
        if first and said is False and self.state.wants_dry_run:
            raise CannotStartError(denies_dry_run(self.name))
        ready_after_s = self.state.ready_after_s  # an adopted service was measured by its first supervisor
        if ready_after_s is None:
            ready_after_s = round(processes.age_s(self.state.start_ticks), 2)
        self._set(phase=Phase.READY, ready_after_s=ready_after_s, detail="", says_dry_run=said)

    def _asker(self) -> Asker:
        return Asker(self.service, self.plan.setting if self.plan else None, self._around.watch_child)

    def _wait_for(self, detail: str) -> None:
        if detail != self.state.detail:
            self._set(detail=detail)

    async def _until_end(self, running: Running) -> ServiceFailure:
        """Watch a service that was ready; return why it must be restarted.

        An unhealthy one must be ready, not only alive, to count as ready again.
        """
        service = self.service
        failed = service.unhealthy_after if self.state.phase is Phase.UNHEALTHY else 0
        either: set[asyncio.Future[Any]] = {running.ended, running.unwanted}
        while True:
            await asyncio.wait(either, timeout=service.probe_interval_s, return_when=asyncio.FIRST_COMPLETED)
            if running.ended.done():
                return running.why_it_ended()
            if running.unwanted.done():
                return ServiceFailure(service=self.name, kind=FailureKind.LIMIT, message=running.unwanted.result())
            unwell = self.state.phase is Phase.UNHEALTHY
            answer = await self._asker().ask("ready" if unwell else "live", running)
            if answer is None:
                continue
            failed = 0 if answer.ok else failed + 1
            if failed >= service.unhealthy_after and (not unwell or answer.detail != self.state.detail):
                self._set(phase=Phase.UNHEALTHY, detail=answer.detail)
            elif answer.ok and unwell:
                self._set(phase=Phase.READY, detail="")

    async def _end(self) -> int:
        """Cancel the life, end the tree, and record the result; return the pid of its main process, or 0."""
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait({self._life})
        running = self.running
        was_running = running is not None and bool(running.tree.members(look_for_tag=True))
        if running is not None and was_running:
            self._set(desired=False, phase=Phase.STOPPING, detail="")
            try:
                killed = await running.tree.end(self.service.grace_period_s)
            except StubbornError as error:
                self._stays_alive(error)
                return running.tree.leader.pid
            self._give_up(Phase.STOPPED, self._after_the_end(killed=killed), ())
            return running.tree.leader.pid
        if self.state.phase is not Phase.STOPPED or self.state.desired:
            self._give_up(Phase.STOPPED, "", ())
        return 0

    def _stays_alive(self, error: StubbornError) -> None:
        """Record that a process is left, and keep track of it: the next stop tries again."""
        self.failure = ServiceFailure(service=self.name, kind=FailureKind.STUBBORN, message=str(error))
        self._set(phase=Phase.FAILED, detail=str(error), failure_kind=FailureKind.STUBBORN)

    def _after_the_end(self, *, killed: bool) -> str:
        """Return what is worth knowing after a stop: that it was killed, and who owns the port if it is not free."""
        left = spawning.listeners_of(self.service)
        port = [spawning.port_failure(self.service, listener).message for listener in left]
        return "; ".join((["killed after the grace period"] if killed else []) + port)

    def _give_up(self, phase: Phase, detail: str, lines: tuple[str, ...], kind: FailureKind | None = None) -> None:
        self.running = None
        self._set(
            phase=phase,
            detail=detail,
            failure_kind=kind,
            desired=phase is Phase.CRASH_LOOP,
            pid=0,
            start_ticks=0,
            cpu_percent=None,
            rss_bytes=None,
            says_dry_run=None,
            last_lines=lines,
        )
