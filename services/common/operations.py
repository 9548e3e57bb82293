"""The routes of every service: /health, /live, /ready, /metrics, and /health/detailed if it has components."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from services.common.answers import (
    ComponentHealth,
    DetailedHealthAnswer,
    HealthAnswer,
    HealthStatus,
    LiveAnswer,
    ReadyAnswer,
    ReadyCheck,
    utc_now,
)
from services.common.metrics import CONTENT_TYPE_LATEST, ServiceMetrics

ReadinessCheck = Callable[[], Awaitable[ReadyCheck]]
HealthCheck = Callable[[], Awaitable[ComponentHealth]]
_SEVERITY = tuple(HealthStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """The handlers of /health, /live, /ready and /metrics. Checks run concurrently and limit their own time."""

    service: str
    version: str
    environment: str
    dry_run: bool
    metrics: ServiceMetrics
    readiness: Sequence[ReadinessCheck] = ()
    health: Sequence[HealthCheck] = ()
    started_monotonic_s: float = field(default_factory=monotonic)

    def router(self) -> APIRouter:
        router = APIRouter(tags=["operations"])
        unhealthy = {"description": "Unhealthy"}
        router.get("/health", response_model=HealthAnswer, responses={503: unhealthy | {"model": HealthAnswer}})(
            self.get_health
        )
        if self.health:
            router.get(
                "/health/detailed",
                response_model=DetailedHealthAnswer,
                responses={503: unhealthy | {"model": DetailedHealthAnswer}},
            )(self.get_detailed_health)
        router.get("/live", response_model=LiveAnswer)(self.get_live)
        not_ready = {"model": ReadyAnswer, "description": "Not ready"}
        router.get("/ready", response_model=ReadyAnswer, responses={503: not_ready})(self.get_ready)
        router.get("/metrics", response_class=PlainTextResponse)(self.get_metrics)
        return router

    async def get_health(self, response: Response) -> HealthAnswer:
        """Report whether the service as a whole is healthy."""
        detailed = await self.get_detailed_health(response)
        return HealthAnswer(**detailed.model_dump(exclude={"components"}))

    async def get_detailed_health(self, response: Response) -> DetailedHealthAnswer:
        """Report whether the service and each of its components are healthy."""
        components = await asyncio.gather(*(check() for check in self.health))
        status = max((component.status for component in components), key=_SEVERITY.index, default=HealthStatus.HEALTHY)
        if status is HealthStatus.UNHEALTHY:
            response.status_code = 503
        return DetailedHealthAnswer(
            status=status,
            service=self.service,
            version=self.version,
            environment=self.environment,
            timestamp=utc_now(),
            uptime_seconds=round(monotonic() - self.started_monotonic_s, 3),
            dry_run=self.dry_run,
            components=components,
        )

    async def get_live(self) -> LiveAnswer:
        """Report that the process is up, without checking dependencies."""
        return LiveAnswer(alive=True, pid=os.getpid(), timestamp=utc_now())

    async def get_ready(self, response: Response) -> ReadyAnswer:
        """Report whether the service can take traffic."""
        checks = await asyncio.gather(*(check() for check in self.readiness))
        ready = all(check.ready for check in checks if check.required)
        if not ready:
            response.status_code = 503
        return ReadyAnswer(ready=ready, checks=checks)

    async def get_metrics(self) -> PlainTextResponse:
        """Return the metrics in Prometheus' text format."""
        return PlainTextResponse(self.metrics.render(), media_type=CONTENT_TYPE_LATEST)
