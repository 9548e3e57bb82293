"""The report of `toombos health`."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from toombos_cli.base.fixes import Fix
from toombos_cli.base.results import Case, Report, Sample, Verdict, worst
from toombos_cli.probes import Cause, Reason
from toombos_cli.project.job_records import MissedRun


class ServiceStatus(StrEnum):
    """UP: all is well. DEGRADED: it responds, but slowly or with a problem. DOWN: it does not work."""

    UP = "up"
    STARTING = "starting"
    """It responds and says that it is not ready yet."""
    DONE = "done"
    """It is a task and has succeeded."""
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHealth:
    """One service. `pid` is that of the listener, even a foreign one; None if there is none or it is not visible."""

    name: str
    url: str
    status: ServiceStatus
    verdict: Verdict
    reason: Reason
    cause: Cause | None = None
    """The exact cause behind the reason, if known."""
    http_status: int | None = None
    latency_ms: float | None = None
    took_ms: float = 0.0
    """How long the check took, also if there was no response."""
    pid: int | None = None
    detail: str = ""
    note: str = ""
    """What is worth knowing although all is well, such as a word of health that is not known."""
    address: str | None = None
    """The IP address that accepted the connection: the first of the host name's addresses that did."""
    listens_on: str | None = None
    """The address that the listener is bound to, which may be wider than the probed one."""
    explained_by: str | None = None
    """The dependency that is not well and is the most likely cause."""
    fix: Fix | None = None
    """A command to paste; None if only a person can decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedService:
    """An optional service that is not part of the running system."""

    name: str
    url: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport(Report):
    """One round. In a watch, `history` has each service's latencies in ms, oldest first, None for no response.

    `missed_runs` are scheduled jobs that did not run; they do not affect the verdict.
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
    """The requested mode."""
    mode_text: str = ""
    place: str = ""
    """The place that was asked; "" for this machine."""

    @property
    def verdict(self) -> Verdict:
        """FAIL if a service is down or reports that it is not well; WARN if one is slow or works with restrictions.

        SKIP if there is no service to check.
        """
        return worst(service.verdict for service in self.services)

    def quotes_others(self, *, in_full: bool) -> bool:
        """Report whether a detail quotes a response or a command line, or a URL has more than a host and a path."""
        quoted = any(s.detail or s.note or s.fix or "?" in s.url for s in self.services)
        return quoted or any(s.detail for s in self.skipped)

    def cases(self) -> tuple[Case, ...]:
        """One case per service, the skipped ones last."""
        judged = (
            Case(
                name=s.name,
                verdict=s.verdict,
                duration_s=(s.latency_ms or s.took_ms) / 1000,
                detail=f"{s.reason}: {s.detail}" if s.detail else "",
            )
            for s in self.services
        )
        return *judged, *(Case(name=s.name, verdict=Verdict.SKIP, detail=s.detail) for s in self.skipped)

    def gauges(self) -> tuple[Sample, ...]:
        """Return gauges: 1 or 0 for each service, its latency if it responded, and the time of the check."""
        samples = []
        where = {"place": self.place} if self.place else {}
        for s in self.services:
            up = s.verdict in (Verdict.PASS, Verdict.WARN)
            samples += [
                _gauge("service_up", "1 if the service works, even with restrictions.", up, service=s.name, **where),
                _gauge(
                    "service_health_info",
                    "The service's status and its reason.",
                    1,
                    service=s.name,
                    status=s.status,
                    reason=s.reason,
                    **where,
                ),
            ]
            if s.latency_ms is not None:
                text = "Time until the health response was complete."
                samples.append(
                    _gauge("service_health_latency_seconds", text, s.latency_ms / 1000, service=s.name, **where)
                )
        text = "When the services were probed, in seconds since the epoch."
        return *samples, _gauge("health_checked_timestamp_seconds", text, self.checked_at.timestamp(), **where)


def _gauge(name: str, text: str, value: float, **labels: str) -> Sample:
    return Sample(name=f"toombos_{name}", help=text, labels={k: str(v) for k, v in labels.items()}, value=float(value))
