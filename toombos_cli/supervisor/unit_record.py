"""The part of a service under supervision that outlives each of its processes: its plans and its written state."""

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from toombos_cli.manifest.tables.expectations import Expectation
from toombos_cli.manifest.tables.service import QUESTIONS, Service
from toombos_cli.project.state import FailureKind, Phase, RunDirectory, ServiceState
from toombos_cli.supervisor.process_look import SharedLooks
from toombos_cli.supervisor.protocol import ServiceFailure, ServicePlan
from toombos_cli.supervisor.service_process import Running

if TYPE_CHECKING:
    from toombos_cli.supervisor.unit import ServiceUnit


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


class UnitRecord:
    """One service. `state` is replaced, never changed; `plan` is for restarts, None if unknown.

    `latest_plan` is the newest one, which says how to stop; `failure` is why the last start failed; `running` is the
    process that runs, None at rest. `note_change` is called after each change of the state.
    """

    def __init__(
        self, state: ServiceState, plan: ServicePlan | None, around: Surroundings, note_change: Callable[[], None]
    ) -> None:
        self.state = state
        self.plan = plan
        self.latest_plan = plan
        self.running: Running | None = None
        self.failure: ServiceFailure | None = None
        self.around = around
        """The supervisor that owns it."""
        self.place = around.run.project
        """Where the project was when the service was started."""
        self._note_change = note_change
        self._changed = asyncio.Event()

    @property
    def service(self) -> Service:
        """The manifest's table; without a plan, the one in the written state."""
        return self.plan.service if self.plan else self.state.service

    @property
    def name(self) -> str:
        """The service's name."""
        return self.state.service.name

    @property
    def log(self) -> Path:
        """Where its log is now: a log in the project moves with it, although the service was started elsewhere."""
        log, project = Path(self.service.log), self.around.run.project
        moved = self.place != project and log.is_relative_to(self.place)
        return project / log.relative_to(self.place) if moved else log

    @property
    def latest_service(self) -> Service:
        """The table in the newest plan."""
        return self.latest_plan.service if self.latest_plan else self.service

    def set(self, **changes: Any) -> None:
        """Change the state, write it, and wake up those who wait for a change."""
        self.state = msgspec.structs.replace(self.state, **changes)
        try:
            self._note_change()
        finally:  # requests that wait for this change must not wait forever
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    def rest(
        self,
        phase: Phase,
        detail: str,
        lines: tuple[str, ...],
        kind: FailureKind | None = None,
        *,
        ready_after_s: float | None = None,
    ) -> None:
        """Record that nothing of the service runs any more, and why."""
        self.running = None
        self.set(
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

    def refuse(self, failure: ServiceFailure) -> None:
        """Record a failed start of which nothing runs any more."""
        self.failure = failure
        self.rest(Phase.FAILED, failure.message, failure.last_lines, failure.kind)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; it is checked after each change of this unit."""
        while not condition():
            await self._changed.wait()
