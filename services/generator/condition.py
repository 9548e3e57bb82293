"""The generator's health: what /ready, /health and /health/detailed report about each component."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter

import psutil

from services.common.answers import ComponentHealth, HealthStatus, ReadyCheck
from services.common.operations import HealthCheck, ReadinessCheck
from services.generator.documents.reader import DocumentReader
from services.generator.history.history import GenerationHistory
from services.generator.history.model import HistoryUnavailableError
from services.generator.publishing.target import PublishTarget

DEGRADED_PERCENT = 75.0
UNHEALTHY_PERCENT = 90.0
_CHECK_TIMEOUT_S = 2.0
_GIB = 1024**3

Problem = Callable[[], Awaitable[str | None]]


class GeneratorHealth:
    """The checks of the components. Database and document are required; without a target, publishing is partial."""

    def __init__(
        self, *, history: GenerationHistory, documents: DocumentReader, crm: PublishTarget, platform: PublishTarget
    ) -> None:
        self._history = history
        self._documents = documents
        self._targets = (("crm", crm), ("platform", platform))

    def readiness(self) -> tuple[ReadinessCheck, ...]:
        return tuple(self._ready(name, problem, required=required) for name, problem, required in self._parts())

    def health(self) -> tuple[HealthCheck, ...]:
        parts = (self._healthy(name, problem, required=required) for name, problem, required in self._parts())
        return (*parts, _disk, _memory)

    def _parts(self) -> tuple[tuple[str, Problem, bool], ...]:
        targets = ((name, self._target_problem(target), False) for name, target in self._targets)
        return (
            ("database", self._database_problem, True),
            ("document_source", self._documents.problem, True),
            *targets,
        )

    async def _database_problem(self) -> str | None:
        try:
            await self._history.ping()
        except HistoryUnavailableError as error:
            return str(error)
        return None

    def _target_problem(self, target: PublishTarget) -> Problem:
        return lambda: target.problem(timeout_s=_CHECK_TIMEOUT_S)

    def _ready(self, name: str, problem: Problem, *, required: bool) -> ReadinessCheck:
        async def check() -> ReadyCheck:
            found = await _within(problem)
            return ReadyCheck(name=name, ready=found is None, message=found or "ok", required=required)

        return check

    def _healthy(self, name: str, problem: Problem, *, required: bool) -> HealthCheck:
        async def check() -> ComponentHealth:
            started = perf_counter()
            found = await _within(problem)
            bad = HealthStatus.UNHEALTHY if required else HealthStatus.DEGRADED
            return ComponentHealth(
                name=name,
                status=HealthStatus.HEALTHY if found is None else bad,
                message=found or "ok",
                response_time_ms=_elapsed_ms(started),
            )

        return check


async def _within(problem: Problem) -> str | None:
    """Return what `problem` finds; a timeout is a problem too."""
    try:
        return await asyncio.wait_for(problem(), _CHECK_TIMEOUT_S)
    except TimeoutError:
        return f"no response within {_CHECK_TIMEOUT_S:g} s"


async def _disk() -> ComponentHealth:
    started = perf_counter()
    usage = psutil.disk_usage(str(Path.cwd()))
    message = f"{usage.percent:.0f} % used, {usage.free / _GIB:.1f} GiB free"
    return _resource("disk", usage.percent, message, started)


async def _memory() -> ComponentHealth:
    started = perf_counter()
    usage = psutil.virtual_memory()
    message = f"{usage.percent:.0f} % used, {usage.available / _GIB:.1f} GiB available"
    return _resource("memory", usage.percent, message, started)


def _resource(name: str, used_percent: float, message: str, started: float) -> ComponentHealth:
    return ComponentHealth(
        name=name, status=judge_usage(used_percent), message=message, response_time_ms=_elapsed_ms(started)
    )


def judge_usage(used_percent: float) -> HealthStatus:
    """Return DEGRADED from 75 % on and UNHEALTHY from 90 % on."""
    if used_percent >= UNHEALTHY_PERCENT:
        return HealthStatus.UNHEALTHY
    return HealthStatus.DEGRADED if used_percent >= DEGRADED_PERCENT else HealthStatus.HEALTHY


def _elapsed_ms(started: float) -> float:
    return round((perf_counter() - started) * 1000, 3)
