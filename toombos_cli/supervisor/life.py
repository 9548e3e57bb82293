"""One life of a service: from a start or an adoption through readiness and restarts, until it rests."""

import asyncio
import time

import msgspec

from toombos_cli import processes
from toombos_cli.project.state import FailureKind, Phase
from toombos_cli.supervisor import spawning, tasks
from toombos_cli.supervisor.health_watch import HealthWatch
from toombos_cli.supervisor.history_keeper import end_of
from toombos_cli.supervisor.protocol import EndedProcess, ServiceFailure
from toombos_cli.supervisor.readiness import Asker
from toombos_cli.supervisor.restarts import RestartPolicy
from toombos_cli.supervisor.service_process import Running
from toombos_cli.supervisor.spawning import CannotStartError
from toombos_cli.supervisor.tree_ending import TreeEnding, those_killed
from toombos_cli.supervisor.unit_record import UnitRecord


def denies_dry_run(service: str) -> ServiceFailure:
    """Return the failure of a service that was started to run dry and reports that it does not."""
    return ServiceFailure(
        service=service, kind=FailureKind.NOT_DRY_RUN, message="it says that it is not in dry-run mode"
    )


class Life:
    """Runs a service or a task, and records in the unit's state how it goes and how it ends."""

    watch: HealthWatch | None = None
    """Watches the process that was ready last; None before the first attempt, and for a task."""

    def __init__(self, unit: UnitRecord, ending: TreeEnding) -> None:
        self._unit = unit
        self._around = unit.around
        self._ending = ending
        self._policy = RestartPolicy(unit.service.restart)

    async def run(self, *, adopted: bool) -> None:
        """Run until nothing runs any more. The unit's process is adopted, or ended before the first attempt.

        Raise StubbornError if a process cannot be ended.
        """
        if not adopted and self._unit.running is not None:  # files have changed
            await self._end_tree(self._unit.running)
            self._unit.running = None
        await (self._run_to_end(adopted=adopted) if self._unit.service.is_task else self._attempts(adopted=adopted))

    def why_not_restarted(self) -> str | None:
        """Return why the service would not be started again now, or None."""
        unit = self._unit
        return "its environment is unknown" if unit.plan is None else self._around.why_not_restarted(unit.place)

    async def _run_to_end(self, *, adopted: bool) -> None:
        """Run a task, unless it need not run again; record in the state whether it is done."""
        need = tasks.Need()
        if self._unit.running is None or not adopted:
            if self._unit.plan is not None:
                need = await tasks.need_of(self._unit.plan, self._around.run)
            if need.why_not is not None:
                self._unit.state = msgspec.structs.replace(self._unit.state, started_at=need.succeeded_at)
                self._unit.rest(Phase.DONE, need.why_not, ())
                return
            try:
                self._spawn()
            except CannotStartError as error:
                self._unit.refuse(error.failure)
                return
        running = self._unit.running
        if running is None:
            raise AssertionError("a task that was spawned or adopted has a process")
        failure = await tasks.why_it_failed(running, self._unit.name, self._unit.service.timeout_s)
        took_s = round(processes.age_s(running.tree.leader.start_ticks), 2)
        if failure is not None:
            self._unit.set(last_end=end_of(failure, running))
        lines = self._last_lines(running)
        killed = those_killed(await self._end_tree(running))
        problem = tasks.record(
            self._around.run,
            self._unit.state,
            running.exit_code,
            took_s=took_s,
            succeeded=failure is None,
            inputs=need.inputs,
        )
        if failure is None:
            self._unit.rest(Phase.DONE, problem, (), ready_after_s=took_s)
            return
        self._unit.failure = msgspec.structs.replace(failure, last_lines=lines)
        self._unit.rest(Phase.FAILED, "; ".join(filter(None, (failure.message, killed, problem))), lines, failure.kind)

    async def _attempts(self, *, adopted: bool) -> None:
        """Make one attempt after the other, with pauses between them."""
        was_ready = adopted and self._was_ready()
        while True:
            failure, exit_code, ready_since = None, None, None
            watch = self.watch = self._new_watch()
            try:
                running = self._unit.running if adopted and self._unit.running else self._spawn()
                if adopted and was_ready:
                    await self._judge_again(running)
                else:
                    await self._until_ready(running, first=not was_ready)
                was_ready, ready_since = True, time.monotonic()
                complaint = self._unit.state.detail if self._unit.state.phase is Phase.UNHEALTHY else None
                end = await watch.until_end(running, complaint=complaint)
                exit_code = running.exit_code
            except CannotStartError as error:
                failure = end = error.failure
            adopted = False
            healthy_s = time.monotonic() - ready_since if ready_since is not None else 0.0
            lines: tuple[str, ...] = ()
            if self._unit.running is not None:
                self._unit.set(last_end=end_of(end, self._unit.running))
                lines = self._unit.running.last_lines(
                    self._unit.log, self._unit.plan.environment if self._unit.plan else {}
                )
                killed = those_killed(await self._end_tree(self._unit.running))
                end = msgspec.structs.replace(end, message="; ".join(filter(None, (end.message, killed))))
            if failure is not None and (not was_ready or failure.kind is FailureKind.CONFIGURATION):
                self._unit.failure = msgspec.structs.replace(failure, last_lines=lines)
                self._unit.rest(Phase.FAILED, end.message, lines, end.kind)
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
                self._unit.rest(Phase.STOPPED, reason, lines)
            else:
                self._unit.rest(Phase.FAILED, reason, lines, end.kind)
            return None
        refusal = self.why_not_restarted()
        if refusal is not None:
            self._unit.rest(Phase.FAILED, f"{reason}; not restarted: {refusal}", lines, end.kind)
            return None
        pause_s: float | None = 0.0
        if not on_purpose:
            pause_s = self._policy.delay_s(time.monotonic(), healthy_s=healthy_s, failing_s=failing_s)
        if pause_s is None:
            self._unit.rest(Phase.CRASH_LOOP, reason, lines, end.kind)
            return None
        self._unit.set(
            phase=Phase.STARTING,
            pid=0,
            start_ticks=0,
            cpu_percent=None,
            rss_bytes=None,
            says_dry_run=None,
            detail=f"{reason}; restarting in {pause_s:.1f} s" if pause_s else f"{reason}; restarting",
            failure_kind=end.kind,
            restarts=self._unit.state.restarts + 1,
            last_lines=lines,
        )
        return pause_s

    def _spawn(self) -> Running:
        """Start a new process. Raises CannotStartError."""
        if self._unit.plan is None:
            raise AssertionError("a unit without a plan is never spawned")
        spawning.check(self._unit.plan)
        run_id = spawning.new_run_id(self._around.run, self._unit.name)
        # Written first: after a crash between here and the next line, the process is found by the tag.
        self._unit.set(
            run_id=run_id,
            phase=Phase.STARTING,
            pid=0,
            start_ticks=0,
            started_at=time.time(),
            ready_after_s=None,
            says_dry_run=None,
        )
        spawned = spawning.spawn(self._unit.plan, self._around.run, run_id)
        lock = self._around.run.service_lock(self._unit.name)
        running = Running(self._unit.service, spawned.identity, run_id, lock, log_offset=spawned.log_offset)
        self._unit.running = running
        self._around.watch_child(spawned.child, running.note_end)
        self._unit.set(
            adopted=False,
            pid=spawned.identity.pid,
            start_ticks=spawned.identity.start_ticks,
            log_offset=spawned.log_offset,
            log_file=spawned.log_file,
            detail=self._starting("running" if self._unit.service.is_task else "spawned"),
            failure_kind=None,
        )
        return running

    def _was_ready(self) -> bool:
        """Return whether the adopted process was ready once, or is too old to be starting still."""
        state = self._unit.state
        recorded = state.ready_after_s is not None or state.restarts > 0
        return recorded or processes.age_s(state.start_ticks) > self._unit.service.startup_timeout_s

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
        self._unit.set(phase=phase, detail="" if answer.ok else answer.detail, says_dry_run=said)

    async def _until_ready(self, running: Running, *, first: bool) -> None:
        """Wait until our own process is ready. Raises CannotStartError.

        A service that was started to run dry and reports that it does not is not ready. One that was ready before is
        left running: `status` and `health` fail for it.
        """
        already_s = processes.age_s(self._unit.state.start_ticks) if self._unit.state.adopted else 0.0
        asker = self._asker()
        await asker.until_ready(running, self._wait_for, already_s=already_s)
        said = await asker.read_dry_run(running)
        if first and said is False and self._unit.state.wants_dry_run:
            raise CannotStartError(denies_dry_run(self._unit.name))
        ready_after_s = self._unit.state.ready_after_s  # an adopted service was measured by its first supervisor
        if ready_after_s is None:
            ready_after_s = round(processes.age_s(self._unit.state.start_ticks), 2)
        self._unit.set(phase=Phase.READY, ready_after_s=ready_after_s, detail="", says_dry_run=said)

    def _asker(self) -> Asker:
        return Asker(self._unit.service, self._unit.plan.setting if self._unit.plan else None, self._around.watch_child)

    def _new_watch(self) -> HealthWatch:
        return HealthWatch(
            self._unit.service,
            self._asker,
            lambda phase, detail: self._unit.set(phase=phase, detail=detail),
            lambda: not self.why_not_restarted(),
        )

    def _starting(self, what: str) -> str:
        """Return what a start waits for, and why it was necessary if it is a restart."""
        end = self._unit.state.last_end
        return f"{end.text}; restarted: {what}" if end else what

    def _wait_for(self, what: str) -> None:
        detail = self._starting(what)
        if detail != self._unit.state.detail:
            self._unit.set(detail=detail)

    def _last_lines(self, running: Running) -> tuple[str, ...]:
        return running.last_lines(self._unit.log, self._unit.plan.environment if self._unit.plan else {})

    async def _end_tree(self, running: Running) -> EndedProcess:
        return await self._ending.end(running, self._unit.latest_service, self._unit.latest_plan)
