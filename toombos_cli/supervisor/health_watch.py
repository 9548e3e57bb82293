"""Watches a service that was ready once: when it must be restarted, and whether it is well meanwhile."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.state import FailureKind, Phase
from toombos_cli.supervisor.protocol import ServiceFailure
from toombos_cli.supervisor.readiness import Asker, Readiness, is_asked
from toombos_cli.supervisor.service_process import Running


class HealthWatch:
    """Asks a running service again and again, and notes each change between READY and UNHEALTHY.

    `note` gets the phase and what the service complains of. An unhealthy service is left running unless
    `may_be_restarted` says otherwise.
    """

    def __init__(
        self,
        service: Service,
        asker: Callable[[], Asker],
        note: Callable[[Phase, str], None],
        may_be_restarted: Callable[[], bool],
    ) -> None:
        self._service = service
        self._asker = asker
        self._note = note
        self._may_be_restarted = may_be_restarted
        self._failing_since: float | None = None
        self._failed = 0
        self._wanted, self._asked = _future(), _future()

    @property
    def failing_s(self) -> float:
        """For how long it has not been well, in seconds."""
        return time.monotonic() - self._failing_since if self._failing_since is not None else 0.0

    async def ask_now(self) -> None:
        """Ask instead of waiting for the next turn; return when the response was noted, or after the probe timeout."""
        if not self._wanted.done():
            self._wanted.set_result(None)
        await asyncio.wait({self._asked}, timeout=self._service.probe_timeout_s)

    async def until_end(self, running: Running, *, complaint: str | None) -> ServiceFailure:
        """Return why the service must be restarted. `complaint` is not None if it is unhealthy at the beginning."""
        service = self._service
        self._failed = service.unhealthy_after if complaint is not None else 0
        pause_s = service.probe_interval_s if is_asked(service) else None
        while True:
            turn: set[asyncio.Future[Any]] = {running.ended, running.unwanted, running.suspension, self._wanted}
            await asyncio.wait(turn, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
            if running.ended.done():
                return running.why_it_ended()
            if running.unwanted.done():
                return running.unwanted.result()
            is_wanted, asked = self._wanted.done(), self._asked
            if is_wanted:
                self._wanted, self._asked = _future(), _future()
            # An unhealthy one must be ready, not only alive, to count as ready again.
            answer = await self._asker().ask("live" if complaint is None else "ready", running)
            if answer is None:
                continue
            self._count(answer, suspended=running.is_suspended)
            is_unhealthy = self._failed >= service.unhealthy_after
            if is_unhealthy and service.restart_when_unhealthy and self._may_be_restarted():
                message = f"unhealthy: {answer.detail}"
                return ServiceFailure(service=service.name, kind=FailureKind.UNHEALTHY, message=message)
            if is_unhealthy and answer.detail != complaint:
                complaint = answer.detail
                self._note(Phase.UNHEALTHY, complaint)
            elif answer.ok and complaint is not None:
                complaint = None
                self._note(Phase.READY, "")
            if is_wanted:
                asked.set_result(None)

    def _count(self, answer: Readiness, *, suspended: bool) -> None:
        if answer.ok:
            self._failed, self._failing_since = 0, None
            return
        self._failed = self._service.unhealthy_after if suspended else self._failed + 1
        self._failing_since = self._failing_since or time.monotonic()


def _future() -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()
