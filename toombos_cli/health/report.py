"""What `toombos health` answers."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from toombos_cli.base.fixes import Fix
from toombos_cli.base.results import Case, Report, Sample, Verdict, worst
from toombos_cli.probes import Cause, Reason
from toombos_cli.project.job_records import MissedRun


class ServiceStatus(StrEnum):
    """UP only when all is well; DEGRADED answers, but late or with a complaint; DOWN does not do its work."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHealth:
    """One judged service. `pid` is the listener's, whoever that is; None when nobody listens or it may not be seen."""

    name: str
    url: str
    status: ServiceStatus
    verdict: Verdict
    reason: Reason
    cause: Cause | None = None
    """What exactly is behind the reason, where that is known."""
    http_status: int | None = None
    latency_ms: float | None = None
    pid: int | None = None
    detail: str = ""
    address: str | None = None
    """The IP address that accepted the connection: of a name's IPv4 and IPv6 addresses the first that did."""
    listens_on: str | None = None
    """The address that the listener is bound to, which may be wider than the one that was probed."""
    explained_by: str | None = None
    """The dependency that is not well and of which this is most likely a consequence."""
    fix: Fix | None = None
    """A command to paste; None where only a person can decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedService:
    """An optional service that is not part of the running system."""

    name: str
    url: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport(Report):
    """One round. `history` holds, for a watch, each service's latencies in ms, oldest first, None for no answer.

    `missed_runs` are scheduled jobs that did not run; the verdict is of the services alone.
    """

    kind: ClassVar[str] = "health"
    hidden: ClassVar[frozenset[str]] = frozenset({"history"})

    services: tuple[ServiceHealth, ...]
    skipped: tuple[SkippedService, ...] = ()
    checked_at: datetime
    history: dict[str, tuple[float | None, ...]] = field(default_factory=dict)
    missed_runs: tuple[MissedRun, ...] = ()
    dry_run: bool = False
    """Whether the services themselves say so."""
    mode: str | None = None
    """The mode that was asked for."""
    mode_text: str = ""

    @property
    def verdict(self) -> Verdict:
        """FAIL when a service is down or denies its health; WARN when one is slow or works with restrictions.

        SKIP when there is no service to ask.
        """
        return worst(service.verdict for service in self.services)

    def cases(self) -> tuple[Case, ...]:
        """One case a service, the skipped ones last."""
        judged = (
            Case(
                name=s.name,
                verdict=s.verdict,
                duration_s=(s.latency_ms or 0) / 1000,
                detail=f"{s.reason}: {s.detail}" if s.detail else "",
            )
            for s in self.services
        )
        return *judged, *(Case(name=s.name, verdict=Verdict.SKIP, detail=s.detail) for s in self.skipped)

    def gauges(self) -> tuple[Sample, ...]:
        """Gauges: 1 or 0 for each service, its latency where it answered, and when it was checked."""
        samples = []
        for s in self.services:
            up = s.verdict in (Verdict.PASS, Verdict.WARN)
            samples += [
                _gauge("service_up", "1 when the service does its work, with restrictions too.", up, service=s.name),
                _gauge("service_health_info", "Why it is so.", 1, service=s.name, status=s.status, reason=s.reason),
            ]
            if s.latency_ms is not None:
                text = "Time until the health answer was complete."
                samples.append(_gauge("service_health_latency_seconds", text, s.latency_ms / 1000, service=s.name))
        checked = "When the services were probed, in seconds since the epoch."
        return *samples, _gauge("health_checked_timestamp_seconds", checked, self.checked_at.timestamp())


def _gauge(name: str, text: str, value: float, **labels: str) -> Sample:
    return Sample(name=f"toombos_{name}", help=text, labels={k: str(v) for k, v in labels.items()}, value=float(value))
