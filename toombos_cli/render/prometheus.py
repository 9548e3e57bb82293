"""Prometheus' text format, for node_exporter's textfile collector and for pipes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from toombos_cli.base.errors import UsageError
from toombos_cli.base.results import Report, Sample
from toombos_cli.render.console import write_document
from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily


def show(report: Report, output: Output, exit_code: int) -> None:
    """Print the report's samples as gauges. Raise UsageError for a report without samples."""
    del exit_code  # the verdict is among the samples
    samples = report.gauges()
    if samples is None:
        raise UsageError(f"{output.command} has no Prometheus output")
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    class Samples(Collector):
        def collect(self) -> "Iterator[GaugeMetricFamily]":
            return _families(samples or ())

    registry = CollectorRegistry()
    registry.register(Samples())
    write_document(output.stdout, generate_latest(registry).decode())


def _families(samples: tuple[Sample, ...]) -> "Iterator[GaugeMetricFamily]":
    from prometheus_client.core import GaugeMetricFamily

    families: dict[str, GaugeMetricFamily] = {}
    for sample in samples:
        family = families.setdefault(sample.name, GaugeMetricFamily(sample.name, sample.help))
        family.add_sample(sample.name, sample.labels, sample.value)
    yield from families.values()
