"""Prometheus metrics of one service, in its own registry (so that two apps can share a process)."""

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

__all__ = ["CONTENT_TYPE_LATEST", "UNMATCHED", "ServiceMetrics"]

UNMATCHED = "(unmatched)"
"""The `path` of requests to no known route: their real paths would grow the label without bound."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
# 2.0 is an alert threshold: without this bound, a quantile near it would be interpolated from its neighbours.
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0, 10.0)

disable_created_metrics()  # type: ignore[no-untyped-call]  # an unused second series for every counter


class ServiceMetrics:
    """The metrics http_requests_total, http_request_duration_seconds, process_* and app_info; extend `registry`."""

    def __init__(self, *, service: str, version: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info("app", "The service and its version", registry=self.registry).info(
            {"service": service, "version": version}
        )
        self._requests = Counter(
            "http_requests", "Answered requests", ("method", "path", "status"), registry=self.registry
        )
        self._durations = Histogram(
            "http_request_duration_seconds",
            "From the request's head to the answer's end",
            ("method", "path"),
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self._bound: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count_request(self, method: str, path: str, status: int, duration_s: float) -> None:
        """Count one response. `path` is the route's template or UNMATCHED."""
        bound = self._bound.get((method, path, status))
        if bound is None:
            known = method if method in _METHODS else "OTHER"
            bound = self._requests.labels(known, path, str(status)), self._durations.labels(known, path)
            if known == method:
                self._bound[method, path, status] = bound
        counter, histogram = bound
        counter.inc()
        histogram.observe(duration_s)

    def render(self) -> bytes:
        """Return the text that Prometheus scrapes."""
        return generate_latest(self.registry)
