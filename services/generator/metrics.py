"""The generator's own Prometheus metrics, in addition to those of every service."""

from prometheus_client import Counter, Gauge, Histogram

from services.common.metrics import ServiceMetrics

_DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class GeneratorMetrics(ServiceMetrics):
    def __init__(self, *, service: str, version: str, dry_run: bool) -> None:
        super().__init__(service=service, version=version)
        registry = self.registry
        Gauge("toombos_dry_run_mode", "1 in dry-run mode, 0 in live mode", registry=registry).set(dry_run)
        self.content_generated = Counter(
            "toombos_content_generated", "Contents generated, previews included", ("channel",), registry=registry
        )
        self.generation_failures = Counter(
            "toombos_content_generation_failures", "Requests that got no content", ("reason",), registry=registry
        )
        self.generation_duration_s = Histogram(
            "toombos_content_generation_duration_seconds",
            "From the parsed request to the stored answer",
            buckets=_DURATION_BUCKETS_S,
            registry=registry,
        )
        self.published = Counter(
            "toombos_publish", "Publications asked of the targets", ("channel", "outcome"), registry=registry
        )
        self.publish_duration_s = Histogram(
            "toombos_publish_duration_seconds",
            "One publication with all its attempts",
            ("channel",),
            buckets=_DURATION_BUCKETS_S,
            registry=registry,
        )
        self._fetches = Counter(
            "toombos_document_fetch", "Reads of the source document", ("source", "outcome"), registry=registry
        )
        self.egress_refused = Counter(
            "toombos_egress_refused", "Requests that dry-run mode kept from leaving", registry=registry
        )
        self.database_up = Gauge("toombos_database_up", "Whether the history can be used", registry=registry)
        for reason in ("document", "malformed", "history", "publish"):
            self.generation_failures.labels(reason)  # so that an unused counter reads as 0, not as absent

    def count_fetch(self, source: str, outcome: str) -> None:
        """Count one read of the document. `outcome`: read, unchanged, unavailable or malformed."""
        self._fetches.labels(source, outcome).inc()
