"""The memory of a health watch: latencies for a sparkline, and when a failure started."""

from collections import deque
from dataclasses import replace

from toombos_cli.health.report import HealthReport

_REMEMBERED_ROUNDS = 120


class LatencyHistory:
    """The latencies and the last result of one watch."""

    def __init__(self) -> None:
        self._latencies_ms: dict[str, deque[float | None]] = {}
        self._failing = False

    def add(self, report: HealthReport) -> HealthReport:
        """Add a round. Return its report with the latencies of all remembered rounds."""
        for service in report.services:
            self._latencies_ms.setdefault(service.name, deque(maxlen=_REMEMBERED_ROUNDS)).append(service.latency_ms)
        return replace(report, history={name: tuple(seen) for name, seen in self._latencies_ms.items()})

    def begins_to_fail(self, *, fails: bool) -> bool:
        """Return whether this round fails and the previous one did not: one alarm per failure, not one per round."""
        was, self._failing = self._failing, fails
        return self._failing and not was
