"""One service under supervision: from spawn to readiness, through restarts, to a verified stop."""

import asyncio
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from toombos_cli import processes
from toombos_cli.manifest.tables.expectations import Expectation
from toombos_cli.manifest.tables.service import QUESTIONS, Service
from toombos_cli.project.state import End, EventReason, FailureKind, Phase, RunDirectory, ServiceState
from toombos_cli.project.task_runs import at_rest
from toombos_cli.supervisor import spawning, tasks
from toombos_cli.supervisor.health_watch import HealthWatch
from toombos_cli.supervisor.history_keeper import end_of
from toombos_cli.supervisor.process_look import SharedLooks
from toombos_cli.supervisor.protocol import EndedProcess, ServiceFailure, ServicePlan
from toombos_cli.supervisor.readiness import Asker
from toombos_cli.supervisor.restarts import RestartPolicy
from toombos_cli.supervisor.service_process import Running
from toombos_cli.supervisor.spawning import CannotStartError
from toombos_cli.supervisor.tree import StubbornError
from toombos_cli.supervisor.tree_ending import TreeEnding, after_the_end, ended_main, those_killed


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
    return msgspec.structs.replace(
        service, env={}, default_env={}, command=service.command[:1], stop_command=(), **commands
    )


class Surroundings(Protocol):
    """What a unit needs from the supervisor that owns it."""

    run: RunDirectory
    looks: SharedLooks

    def changed(self, unit: "ServiceUnit") -> None:
        """Write the unit's new state and notify the listeners."""

    def why_not_restarted(self, place: Path) -> str | None:
        """Return why a service that was started when the project was at `place` is not restarted, or None."""

    def leave_if_idle(self) -> None:
        """End the supervisor if nothing is left to supervise; called when a life has ended."""

    def watch_child(self, child: "subprocess.Popen[bytes]", ended: Callable[[int], None]) -> None:
        """Call `ended(return code)` once, when the child has ended and was reaped."""


class ServiceUnit:
    """One service. `state` is replaced, never changed; `plan` is for restarts, None if unknown.

    `latest_plan` is the newest one, which says how to stop; `failure` is why the last start failed; `waiting` counts
    the requests that wait for readiness.
    """

    def __init__(self, state: ServiceState, plan: ServicePlan | None, around: Surroundings) -> None:
        self.state = state
        self.plan = plan
        self.latest_plan = plan
        self.running: Running | None = None
        self.failure: ServiceFailure | None = None
        self.waiting = 0
        self.place = around.run.project
        """Where the project was when the service was started."""
        self._around = around
        self._changed = asyncio.Event()
        self._life: asyncio.Task[None] | None = None
        self._stop: asyncio.Task[EndedProcess | None] | None = None
        self._ending = TreeEnding(around.looks, around.watch_child)
        self._watch: HealthWatch | None = None
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
    def ended(self) -> EndedProcess | None:
        """The last process that was ended since the last start."""
        return self._ending.last

    @property
    def log(self) -> Path:
        """Where its log is now: a log in the project moves with it, although the service was started elsewhere."""
        log, project = Path(self.service.log), self._around.run.project
        moved = self.place != project and log.is_relative_to(self.place)
        return project / log.relative_to(self.place) if moved else log

    @property
    def is_active(self) -> bool:
        """Whether it has a running process, or one is about to be started."""
        return self._life is not None and not self._life.done()

    def start(self, plan: ServicePlan, *, because: str = "") -> None:
        """Start the service without waiting; `wait_settled` waits for the result. `because`: it is a restart."""
        end = End(at=round(time.time(), 3), reason=EventReason.DEPENDENCY, text=because) if because else None
        self.plan = self.latest_plan = plan
        self.place = self._around.run.project
        self.failure = self._ending.last = None
        self._policy = RestartPolicy(plan.service.restart)
        self._set(
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
        if self._watch is not None and self.state.phase is Phase.UNHEALTHY:
            await self._watch.ask_now()

    def begin_anew(self) -> None:
        """Forget how the last start ended, before those that depend on this one look at it."""
        self.failure = None
        if self.state.phase is Phase.DONE:
            self._set(phase=Phase.STOPPED, detail="", ready_after_s=None)

    def look_at_record(self) -> None:
        """Take over how the task ended if a command has run it since."""
        if not self.is_active:
            found = at_rest(self.state, self._around.run)
            self.state = msgspec.structs.replace(found, last_lines=())
            self._set()

    async def restart_for(self, files: str) -> None:
        """End the service if it runs and start it again, because watched files have changed; also one that has failed.

        Do nothing if it was stopped, or could not be started again.
        """
        if self._life is not None:
            if not self._wants_restart_for_files():
                return
            self._life.cancel()
            await asyncio.wait({self._life})
        if not self._wants_restart_for_files():
            return
        self.failure = None
        self._policy = RestartPolicy(self.service.restart)
        text = f"{files} changed"
        end = End(at=round(time.time(), 3), reason=EventReason.WATCHED_FILE, text=text, file=files)
        self._set(
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
        return not (stops or self.state.phase in (Phase.STOPPED, Phase.STOPPING) or self._why_not_restarted())

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
            if not adopted and self.running is not None:  # files have changed
                await self._end_tree(self.running)
                self.running = None
            await (self._run_to_end(adopted=adopted) if self.service.is_task else self._attempts(adopted=adopted))
        except StubbornError as error:
            self._stays_alive(error)
        except Exception as error:
            detail = f"a bug in toombos: {type(error).__name__}; see run/supervisor.log"
            self._set(phase=Phase.FAILED, detail=detail, failure_kind=FailureKind.BUG)
            raise

    async def _run_to_end(self, *, adopted: bool) -> None:
        """Run a task, unless it need not run again; record in the state whether it is done."""
        need = tasks.Need()
        if self.running is None or not adopted:
            if self.plan is not None:
                need = await tasks.need_of(self.plan, self._around.run)
            if need.why_not is not None:
                self.state = msgspec.structs.replace(self.state, started_at=need.succeeded_at)
                self._give_up(Phase.DONE, need.why_not, ())
                return
            try:
                self._spawn()
            except CannotStartError as error:
                self.refuse(error.failure)
                return
        running = self.running
        if running is None:
            raise AssertionError("a task that was spawned or adopted has a process")
        failure = await tasks.why_it_failed(running, self.name, self.service.timeout_s)
        took_s = round(processes.age_s(running.tree.leader.start_ticks), 2)
        if failure is not None:
            self._set(last_end=end_of(failure, running))
        lines = running.last_lines(self.log, self.plan.environment if self.plan else {})
        killed = those_killed(await self._end_tree(running))
        problem = tasks.record(
            self._around.run,
            self.state,
            running.exit_code,
            took_s=took_s,
            succeeded=failure is None,
            inputs=need.inputs,
        )
        if failure is None:
            self._give_up(Phase.DONE, problem, (), ready_after_s=took_s)
            return
        self.failure = msgspec.structs.replace(failure, last_lines=lines)
        self._give_up(Phase.FAILED, "; ".join(filter(None, (failure.message, killed, problem))), lines, failure.kind)

    async def _attempts(self, *, adopted: bool) -> None:
        """Make one attempt after the other, with pauses between them."""
        was_ready = adopted and self._was_ready()
        while True:
            failure, exit_code, ready_since = None, None, None
            watch = self._watch = self._new_watch()
            try:
                running = self.running if adopted and self.running else self._spawn()
                if adopted and was_ready:
                    await self._judge_again(running)
                else:
                    await self._until_ready(running, first=not was_ready)
                was_ready, ready_since = True, time.monotonic()
                complaint = self.state.detail if self.state.phase is Phase.UNHEALTHY else None
                end = await watch.until_end(running, complaint=complaint)
                exit_code = running.exit_code
            except CannotStartError as error:
                failure = end = error.failure
            adopted = False
            healthy_s = time.monotonic() - ready_since if ready_since is not None else 0.0
            lines: tuple[str, ...] = ()
            if self.running is not None:
                self._set(last_end=end_of(end, self.running))
                lines = self.running.last_lines(self.log, self.plan.environment if self.plan else {})
                killed = those_killed(await self._end_tree(self.running))
                end = msgspec.structs.replace(end, message="; ".join(filter(None, (end.message, killed))))
            if failure is not None and (not was_ready or failure.kind is FailureKind.CONFIGURATION):
                self.failure = msgspec.structs.replace(failure, last_lines=lines)
                self._give_up(Phase.FAILED, end.message, lines, end.kind)
                return
            pause_s = self._pause_before_restart(exit_code, end, lines, healthy_s=healthy_s, failing_s=watch.failing_s)
            if pause_s is None:
                return
            await asyncio.sleep(pause_s)

    def _pause_before_restart(
        self,
        exit_code: int | None,
        end: ServiceFailure,
        lines: tuple[str, ...],
        *,
        healthy_s: float,
        failing_s: float,
    ) -> float | None:
        """Return the seconds until the next attempt, or None if there is none; record which it is in the state."""
        reason = end.message
        on_purpose = end.kind is FailureKind.DEPENDENCY
        if not on_purpose and not self._policy.wants_restart(exit_code):
            if exit_code == 0:
                self._give_up(Phase.STOPPED, reason, lines)
            else:
                self._give_up(Phase.FAILED, reason, lines, end.kind)
            return None
        refusal = self._why_not_restarted()
        if refusal is not None:
            self._give_up(Phase.FAILED, f"{reason}; not restarted: {refusal}", lines, end.kind)
            return None
        pause_s: float | None = 0.0
        if not on_purpose:
            pause_s = self._policy.delay_s(time.monotonic(), healthy_s=healthy_s, failing_s=failing_s)
        if pause_s is None:
            self._give_up(Phase.CRASH_LOOP, reason, lines, end.kind)
            return None
        self._set(
            phase=Phase.STARTING,
            pid=0,
            start_ticks=0,
            cpu_percent=None,
            rss_bytes=None,
            says_dry_run=None,
            detail=f"{reason}; restarting in {pause_s:.1f} s" if pause_s else f"{reason}; restarting",
            failure_kind=end.kind,
            restarts=self.state.restarts + 1,
            last_lines=lines,
        )
        return pause_s

    def _why_not_restarted(self) -> str | None:
        return "its environment is unknown" if self.plan is None else self._around.why_not_restarted(self.place)

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
            detail=self._starting("running" if self.service.is_task else "spawned"),
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

    def _new_watch(self) -> HealthWatch:
        return HealthWatch(
            self.service,
            self._asker,
            lambda phase, detail: self._set(phase=phase, detail=detail),
            lambda: not self._why_not_restarted(),
        )

    def _starting(self, what: str) -> str:
        """Return what a start waits for, and why it was necessary if it is a restart."""
        end = self.state.last_end
        return f"{end.text}; restarted: {what}" if end else what

    def _wait_for(self, what: str) -> None:
        detail = self._starting(what)
        if detail != self.state.detail:
            self._set(detail=detail)

    async def _end(self) -> EndedProcess | None:
        """Cancel the life, end the tree, and record the result; return its main process, or None."""
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait({self._life})
        running = self.running
        was_running = running is not None and await running.tree.is_running(self._around.looks)
        if running is not None and was_running:
            self._set(desired=False, phase=Phase.STOPPING, detail="")
            try:
                ended = await self._end_tree(running)
            except StubbornError as error:
                self._stays_alive(error)
                return ended_main(running, self._latest_service)
            self._give_up(Phase.STOPPED, after_the_end(self.service, ended), ())
            return ended
        if self.state.phase is not Phase.STOPPED or self.state.desired:
            self._give_up(Phase.STOPPED, "", ())
        return None

    @property
    def _latest_service(self) -> Service:
        """What the newest plan says of the service."""
        return self.latest_plan.service if self.latest_plan else self.service

    async def _end_tree(self, running: Running) -> EndedProcess:
        return await self._ending.end(running, self._latest_service, self.latest_plan)

    def _stays_alive(self, error: StubbornError) -> None:
        """Record that a process is left, and keep track of it: the next stop tries again."""
        self.failure = ServiceFailure(service=self.name, kind=FailureKind.STUBBORN, message=str(error))
        self._set(phase=Phase.FAILED, detail=str(error), failure_kind=FailureKind.STUBBORN)

    def _give_up(
        self,
        phase: Phase,
        detail: str,
        lines: tuple[str, ...],
        kind: FailureKind | None = None,
        *,
        ready_after_s: float | None = None,
    ) -> None:
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
            ready_after_s=ready_after_s,
        )
