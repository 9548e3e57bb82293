"""Rounds of health checks that remember: latencies for a sparkline, and when a failure began."""

from collections import deque
from dataclasses import replace

from toombos_cli.health.report import HealthReport

_REMEMBERED_ROUNDS = 120


class LatencyHistory:
    """What one watch has seen so far."""

    def __init__(self) -> None:
        self._latencies_ms: dict[str, deque[float | None]] = {}
        self._failing = False

    def add(self, report: HealthReport) -> HealthReport:
        """The report with the latencies of this and the rounds before it."""
        for service in report.services:
            self._latencies_ms.setdefault(service.name, deque(maxlen=_REMEMBERED_ROUNDS)).append(service.latency_ms)
        return replace(report, history={name: tuple(seen) for name, seen in self._latencies_ms.items()})

    def begins_to_fail(self, *, fails: bool) -> bool:
        """Return whether this round fails and the one before did not: one alarm a failure, not one a round."""
        was, self._failing = self._failing, fails
        return self._failing and not was
