"""One service under supervision: from spawn to readiness, through restarts, to a stop that proves itself."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import msgspec

from toombos_cli import processes
from toombos_cli.manifest.service import Service
from toombos_cli.run_state import Phase, RestartRecord, RunDirectory, ServiceState
from toombos_cli.supervisor import readiness, spawning
from toombos_cli.supervisor.protocol import Failure, ServicePlan
from toombos_cli.supervisor.restarts import RestartPolicy
from toombos_cli.supervisor.spawning import CannotStartError
from toombos_cli.supervisor.tailing import last_lines
from toombos_cli.supervisor.tree import StubbornError, Tree

_FIRST_PROBE_S, _LAST_PROBE_S = 0.01, 0.25
_PROBE_LATENESS = 0.04  # a service is found ready at most so much later than it is, as a share of its start-up time
_POLL_ADOPTED_S = 0.05
_HISTORY = 20
_LAST_LINES = 20
_T = TypeVar("_T")


class Surroundings(Protocol):
    """What a unit needs of the supervisor that owns it."""

    run: RunDirectory

    def changed(self, unit: "Unit") -> None:
        """The unit's state is new: write it down, tell those who wait."""

    def leave_if_idle(self) -> None:
        """A life has ended: nothing may be left to supervise."""

    def watch_child(self, child: "subprocess.Popen[bytes]", ended: Callable[[int], None]) -> None:
        """Calls `ended(return code)` once, when the child has ended and was reaped."""


class Unit:
    """One service. `state` is replaced, never changed; what runs is `tree`, and `plan` is how to start it again.

    `failure` says why the last start failed; `waiting` counts the requests that wait for readiness.
    """

    def __init__(self, state: ServiceState, plan: ServicePlan | None, around: Surroundings) -> None:
        self.state = state
        self.plan = plan
        self.tree: Tree | None = None
        self.failure: Failure | None = None
        self.waiting = 0
        self._around = around
        self._changed = asyncio.Event()
        self._futures: tuple[asyncio.Future[int | None], asyncio.Future[str]] | None = None
        self._life: asyncio.Task[None] | None = None
        self._stop: asyncio.Task[bool] | None = None
        self._policy = RestartPolicy(self.service.restart)
        self._log_offset = 0

    @property
    def service(self) -> Service:
        """The manifest's table; without a plan, the one that was written down."""
        return self.plan.service if self.plan else self.state.service

    @property
    def name(self) -> str:
        """The service's name."""
        return self.state.service.name

    @property
    def is_active(self) -> bool:
        """Whether a process of it runs, or is going to be started."""
        return self._life is not None and not self._life.done()

    def start(self, plan: ServicePlan) -> None:
        """Begins to bring the service up; `wait_settled` tells how that ended."""
        self.plan = plan
        self.failure = None
        self._policy = RestartPolicy(plan.service.restart)
        service = msgspec.structs.replace(plan.service, env={}, default_env={})
        self._set(
            service=service,
            fingerprint=plan.fingerprint,
            desired=True,
            phase=Phase.STARTING,
            detail="",
            restarts=0,
            restart_history=(),
            warnings=(),
            last_lines=(),
        )
        self._begin_life(adopted=False)

    def adopt(self, leader: processes.ProcessIdentity, run_id: str) -> None:
        """Takes over a process of an earlier supervisor that was proved to be this service's."""
        self._begin(leader, run_id)
        self._set(
            desired=True,
            phase=Phase.STARTING,
            detail="adopted",
            run_id=run_id,
            pid=leader.pid,
            start_ticks=leader.start_ticks,
        )
        self._watch_adopted(leader)
        self._begin_life(adopted=True)

    async def stop(self) -> bool:
        """Ends the whole tree; True when there was one. Calls at the same time share one stop."""
        if self._stop is None or self._stop.done():
            self._stop = asyncio.create_task(self._end(), name=f"stop of {self.name}")
        return await asyncio.shield(self._stop)

    def request_restart(self, reason: str) -> None:
        """Asks for a restart of a running service, for a reason that is written down."""
        if self._futures is not None and not self._futures[1].done():
            self._futures[1].set_result(reason)

    def refuse(self, failure: Failure) -> None:
        """Notes that a start was refused before anything was spawned."""
        self.failure = failure
        self._give_up(Phase.FAILED, failure.message, ())

    def warn(self, warnings: tuple[str, ...]) -> None:
        """Replaces what is worth a warning at present."""
        if warnings != self.state.warnings:
            self._set(warnings=warnings)

    def measured(self, cpu_percent: float | None, rss_bytes: int | None) -> None:
        """Notes figures; they are not worth a write of their own."""
        self.state = msgspec.structs.replace(self.state, cpu_percent=cpu_percent, rss_bytes=rss_bytes)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Returns when the condition holds after some change of this unit."""
        while not condition():
            await self._changed.wait()

    async def wait_settled(self) -> None:
        """Returns when a start has come to an end: ready, or not."""
        await self.wait_until(lambda: self.state.phase is not Phase.STARTING)

    def _set(self, **changes: Any) -> None:
        self.state = msgspec.structs.replace(self.state, **changes)
        self._around.changed(self)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _begin_life(self, *, adopted: bool) -> None:
        self._life = asyncio.create_task(self._live(adopted=adopted), name=f"life of {self.name}")
        self._life.add_done_callback(lambda _: self._around.leave_if_idle())

    async def _live(self, *, adopted: bool) -> None:
        """The life of a service until it is stopped or given up; however it ends, the state says so."""
        try:
            await self._attempts(adopted=adopted)
        except StubbornError as error:
            self._stays_alive(error)
        except Exception as error:
            self._set(phase=Phase.FAILED, detail=f"a bug in toombos: {type(error).__name__}; see run/supervisor.log")
            raise

    async def _attempts(self, *, adopted: bool) -> None:
        """One attempt after the other, with pauses between them."""
        was_ready = adopted
        while True:
            failure, exit_code, ready_since = None, None, None
            try:
                if not adopted:
                    self._spawn()
                await self._until_ready()
                was_ready, ready_since = True, time.monotonic()
                reason = await self._until_end()
                exit_code = self._exit_code()
            except CannotStartError as error:
                failure, reason = error.failure, error.failure.message
            adopted = False
            healthy_s = time.monotonic() - ready_since if ready_since is not None else 0.0
            lines = self._last_lines()
            if self.tree is not None:
                await self.tree.end(self.service.grace_period_s)
            if failure is not None and (not was_ready or failure.kind == "configuration"):
                self.failure = msgspec.structs.replace(failure, last_lines=lines)
                self._give_up(Phase.FAILED, reason, lines)
                return
            pause_s = self._pause_before_restart(exit_code, reason, lines, healthy_s=healthy_s)
            if pause_s is None:
                return
            await asyncio.sleep(pause_s)

    def _pause_before_restart(
        self, exit_code: int | None, reason: str, lines: tuple[str, ...], *, healthy_s: float
    ) -> float | None:
        """Seconds until the next attempt, noted as a restart; None when there is to be none, which is noted too."""
        if not self._policy.wants_restart(exit_code):
            self._give_up(Phase.STOPPED if exit_code == 0 else Phase.FAILED, reason, lines)
            return None
        if self.plan is None:
            self._give_up(Phase.FAILED, f"{reason}; not restarted: its environment is unknown", lines)
            return None
        pause_s = self._policy.delay_s(time.monotonic(), healthy_s=healthy_s)
        if pause_s is None:
            self._give_up(Phase.CRASH_LOOP, reason, lines)
            return None
        record = RestartRecord(at=round(time.time(), 3), reason=reason)
        self._set(
            phase=Phase.STARTING,
            pid=0,
            start_ticks=0,
            cpu_percent=None,
            rss_bytes=None,
            detail=f"{reason}; starts again in {pause_s:.1f} s",
            restarts=self.state.restarts + 1,
            restart_history=(*self.state.restart_history, record)[-_HISTORY:],
            last_lines=lines,
        )
        return pause_s

    def _spawn(self) -> None:
        if self.plan is None:
            raise AssertionError("a unit without a plan is never spawned")
        spawning.check(self.plan)
        run_id = spawning.new_run_id(self._around.run, self.name)
        # Written down first: a crash between here and the next line is found again by the tag.
        self._set(run_id=run_id, phase=Phase.STARTING, pid=0, start_ticks=0, started_at=time.time(), ready_after_s=None)
        spawned = spawning.spawn(self.plan, self._around.run, run_id)
        self._begin(spawned.identity, run_id)
        self._log_offset = spawned.log_offset
        self._around.watch_child(spawned.child, self._on_end)
        self._set(
            pid=spawned.identity.pid,
            start_ticks=spawned.identity.start_ticks,
            log_offset=spawned.log_offset,
            detail="spawned",
        )

    async def _until_ready(self) -> None:
        """Returns when a process of ours answered. Raises CannotStartError."""
        service = self.service
        path = service.ready or service.health
        began = time.monotonic()
        deadline = began + service.startup_timeout_s
        while True:
            answer = await self._unless_ended(readiness.ask(service, path))
            if answer is None:
                raise CannotStartError(self._why_it_ended())
            if answer.ok and self.tree is not None:
                stranger = readiness.stranger_on_port(service, self.tree.members())
                if stranger is None:
                    break
                owner = f"pid {stranger.pid} ({stranger.command})"
                message = f"port {service.port} answers, but it is {owner} that listens there"
                raise CannotStartError(Failure(service=self.name, kind="port", message=message))
            if time.monotonic() >= deadline:
                message = f"not ready after {service.startup_timeout_s:g} s: {answer.detail}"
                raise CannotStartError(Failure(service=self.name, kind="timeout", message=message))
            if answer.detail != self.state.detail:
                self._set(detail=answer.detail)
            pause_s = min(max((time.monotonic() - began) * _PROBE_LATENESS, _FIRST_PROBE_S), _LAST_PROBE_S)
            await self._unless_ended(asyncio.sleep(pause_s))
        ready_after_s = self.state.ready_after_s  # that of an adopted service was measured by its first supervisor
        if ready_after_s is None:
            ready_after_s = round(processes.age_s(self.state.start_ticks), 2)
        self._set(phase=Phase.READY, ready_after_s=ready_after_s, detail="")

    async def _until_end(self) -> str:
        """Watches a ready service; returns the reason for which it must be started again."""
        service = self.service
        path = service.live or service.health
        failed = 0
        ended, restart = self._running()
        either: set[asyncio.Future[Any]] = {ended, restart}
        while True:
            await asyncio.wait(either, timeout=service.probe_interval_s, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return self._why_it_ended().message
            if restart.done():
                return restart.result()
            answer = await self._unless_ended(readiness.ask(service, path))
            if answer is None:
                continue
            failed = 0 if answer.ok else failed + 1
            if failed == service.unhealthy_after:
                self._set(phase=Phase.UNHEALTHY, detail=answer.detail)
            elif answer.ok and self.state.phase is Phase.UNHEALTHY:
                self._set(phase=Phase.READY, detail="")

    async def _unless_ended(self, work: Coroutine[Any, Any, _T]) -> _T | None:
        """The result of `work`, or None as soon as the process has ended."""
        task = asyncio.ensure_future(work)
        try:
            ended = self._running()[0]
            either: set[asyncio.Future[Any]] = {task, ended}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return None if ended.done() else task.result()
        finally:
            task.cancel()

    async def _end(self) -> bool:
        """Cancels the life, ends the tree, and notes what is true then."""
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait({self._life})
        was_running = self.tree is not None and bool(self.tree.members(look_for_tag=True))
        if self.tree is not None and was_running:
            self._set(desired=False, phase=Phase.STOPPING, detail="")
            try:
                killed = await self.tree.end(self.service.grace_period_s)
            except StubbornError as error:
                self._stays_alive(error)
                return True
            self._give_up(Phase.STOPPED, self._after_the_end(killed=killed), ())
        elif self.state.phase is not Phase.STOPPED or self.state.desired:
            self._give_up(Phase.STOPPED, "", ())
        return was_running

    def _stays_alive(self, error: StubbornError) -> None:
        """Notes that a process is left, and keeps it in sight: the next stop tries again."""
        self.failure = Failure(service=self.name, kind="stubborn", message=str(error))
        self._set(phase=Phase.FAILED, detail=str(error))

    def _after_the_end(self, *, killed: bool) -> str:
        """What is worth knowing of a stop: that it took force, and who has the port if it is not free."""
        left = processes.listeners_at(self.service.host, self.service.port)
        port = [spawning.port_failure(self.service, listener).message for listener in left]
        return "; ".join((["killed after the grace period"] if killed else []) + port)

    def _give_up(self, phase: Phase, detail: str, lines: tuple[str, ...]) -> None:
        self.tree = None
        self._set(
            phase=phase,
            detail=detail,
            desired=phase is Phase.CRASH_LOOP,
            pid=0,
            start_ticks=0,
            cpu_percent=None,
            rss_bytes=None,
            last_lines=lines,
        )

    def _begin(self, leader: processes.ProcessIdentity, run_id: str) -> None:
        loop = asyncio.get_running_loop()
        self.tree = Tree(leader, run_id, self._around.run.service_lock(self.name))
        self._futures = (loop.create_future(), loop.create_future())

    def _running(self) -> "tuple[asyncio.Future[int | None], asyncio.Future[str]]":
        """The present process's end and the wish for a restart."""
        if self._futures is None:
            raise AssertionError("there was never a process")
        return self._futures

    def _on_end(self, exit_code: int | None) -> None:
        ended = self._running()[0]
        if not ended.done():
            ended.set_result(exit_code)

    def _watch_adopted(self, leader: processes.ProcessIdentity) -> None:
        """Learns of the end of a process that is no child of ours; its exit code stays unknown."""
        loop = asyncio.get_running_loop()
        fd = processes.open_pidfd(leader.pid)

        def ended() -> None:
            if fd is not None:
                loop.remove_reader(fd)
                os.close(fd)
            self._on_end(None)

        def look() -> None:
            if processes.is_alive(leader):
                loop.call_later(_POLL_ADOPTED_S, look)
            else:
                self._on_end(None)

        if fd is not None:
            loop.add_reader(fd, ended)
        else:  # it has ended meanwhile, or this system has no pidfds
            look()

    def _exit_code(self) -> int | None:
        ended = self._running()[0]
        return ended.result() if ended.done() else None

    def _why_it_ended(self) -> Failure:
        code = self._exit_code()
        if code is None:
            return Failure(service=self.name, kind="exited", message="its process ended (exit code unknown)")
        if code in self.service.exit_codes_of_invalid_configuration:
            message = f"it refused its configuration (exit code {code})"
            return Failure(service=self.name, kind="configuration", message=message, hint="toombos config check")
        left = self.tree.members(look_for_tag=True) if code == 0 and self.tree else {}
        if left:
            pid = min(left)
            message = f"its process ended and left pid {pid} ({processes.command_line(pid)}) in the background"
            hint = "have it stay in the foreground: the supervisor itself runs in the background"
            return Failure(service=self.name, kind="exited", message=message, hint=hint)
        how = f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        hint = f"toombos logs {self.name}"
        return Failure(service=self.name, kind="exited", message=f"its process {how}", hint=hint)

    def _last_lines(self) -> tuple[str, ...]:
        return last_lines(self.service.log, self._log_offset, _LAST_LINES)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # of the real-time signals only the first and the last have names
        return f"signal {number}"
