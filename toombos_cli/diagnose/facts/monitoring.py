"""What Prometheus and Grafana know about the services, if they run."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import msgspec

from toombos_cli.diagnose.facts.probes import PROBES, Probe
from toombos_cli.diagnose.facts.source import Fact, Facts
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes.prometheus import ActiveTarget, PrometheusError, active_targets, prometheus_data, query

_TIMEOUT_S = 1.2
_REQUESTS = "http_requests_total"


class ScrapeTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One target; `service` is "" if the target is not in the manifest. `health` is up, down or unknown."""

    service: str
    url: str
    health: str
    last_error: str


class _PrometheusAlert(msgspec.Struct):
    labels: dict[str, str]
    state: str = ""


class _Alerts(msgspec.Struct):
    alerts: tuple[_PrometheusAlert, ...]


class MonitoringFacts(msgspec.Struct, frozen=True, kw_only=True):
    """`running` are the monitoring services that respond. `series` counts the series of each metric on a dashboard.

    `growth_bytes_per_h` is the slope of a service's memory over half an hour.
    """

    running: tuple[str, ...] = ()
    targets: tuple[ScrapeTarget, ...] = ()
    problem: str = ""
    series: dict[str, int] = {}
    firing: tuple[str, ...] = ()
    growth_bytes_per_h: dict[str, float] = {}


def _gather(facts: Facts) -> MonitoringFacts:
    probes = facts.get(PROBES)
    monitoring = {n: s for n, s in facts.manifest.services.items() if s.role == "monitoring"}
    running = tuple(name for name in monitoring if probes[name].health.http_status is not None)
    prometheus = next((s for n, s in monitoring.items() if n in running and _is(s, "prometheus")), None)
    if prometheus is None:
        return MonitoringFacts(running=running)
    try:
        targets = active_targets(prometheus, timeout_s=_TIMEOUT_S)
    except PrometheusError as error:
        return MonitoringFacts(running=running, problem=f"Prometheus does not list its targets: {error}")
    by_port = {str(s.port): s.name for s in facts.manifest.services.values()}
    return MonitoringFacts(
        running=running,
        targets=tuple(_target(target, by_port) for target in targets),
        series={
            f"{metric} of {name}": len(_series(prometheus, expression))
            for name, service in facts.manifest.services.items()
            if service.metrics and not service.optional
            for metric, expression in _expected(service, probes[name].metrics)
        },
        growth_bytes_per_h=_growth(prometheus, facts),
        firing=_firing(prometheus),
    )


def _expected(service: Service, metrics: Probe | None) -> Iterator[tuple[str, str]]:
    """Yield the series that Prometheus should have of a service, each with the expression that looks for it.

    Another program may count its requests under another name, or has had none. One that was scraped twice at most may
    have had its first since.
    """
    of = f'{{instance=~".*:{service.port}"}}'
    yield "up", f"up{of}"
    if metrics is not None and metrics.ok and f"\n{_REQUESTS}" in metrics.body:
        yield _REQUESTS, f"{_REQUESTS}{of} or (sum_over_time(up{of}[5m]) < 3)"


def _is(service: Service, program: str) -> bool:
    return service.name == program or service.command[0].rpartition("/")[2] == program


def _target(target: ActiveTarget, by_port: dict[str, str]) -> ScrapeTarget:
    port = target.scrape_url.partition("://")[2].partition("/")[0].rpartition(":")[2]
    return ScrapeTarget(
        service=by_port.get(port, ""), url=target.scrape_url, health=target.health, last_error=target.last_error
    )


def _firing(prometheus: Service) -> tuple[str, ...]:
    try:
        alerts = prometheus_data(prometheus, "/api/v1/alerts", _Alerts, timeout_s=_TIMEOUT_S).alerts
    except PrometheusError:
        return ()
    return tuple(alert.labels.get("alertname", "") for alert in alerts if alert.state == "firing")


def _series(prometheus: Service, expression: str) -> tuple[Any, ...]:
    """Return the series of an expression; none if Prometheus does not respond as documented."""
    try:
        return query(prometheus, expression, timeout_s=_TIMEOUT_S)
    except PrometheusError:
        return ()


def _growth(prometheus: Service, facts: Facts) -> dict[str, float]:
    """Return how fast each service's memory grew in half an hour; services with fewer samples are left out."""
    metric = "process_resident_memory_bytes"
    expression = f"deriv({metric}[30m]) * 3600 and count_over_time({metric}[30m]) >= 60"
    names = {str(service.port): name for name, service in facts.manifest.services.items()}
    growth = {}
    for series in _series(prometheus, expression):
        with contextlib.suppress(TypeError, KeyError, IndexError, AttributeError, ValueError):  # not as documented
            name = names.get(str(series["metric"].get("instance", "")).rpartition(":")[2])
            slope = float(series["value"][1])
            if name and math.isfinite(slope):
                growth[name] = slope
    return growth


MONITORING: Fact[MonitoringFacts] = Fact("monitoring", MonitoringFacts, _gather)
