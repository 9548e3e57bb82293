"""What Prometheus and Grafana know about the services, if they run."""

from typing import Any
from urllib.parse import quote

import msgspec

from toombos_cli.diagnose.facts.probes import PROBES
from toombos_cli.diagnose.facts.source import Fact, Facts
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes import probe_http

_TIMEOUT_S = 1.2
_BODY_BYTES = 4 * 1024 * 1024


class ScrapeTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One target; `service` is "" if the target is not in the manifest. `health` is up, down or unknown."""

    service: str
    url: str
    health: str
    last_error: str


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
    targets = _get(prometheus, "/api/v1/targets?state=active")
    if not isinstance(targets, dict):
        return MonitoringFacts(running=running, problem="Prometheus does not list its targets")
    by_port = {str(s.port): s.name for s in facts.manifest.services.values()}
    alerts = _get(prometheus, "/api/v1/alerts") or {}
    return MonitoringFacts(
        running=running,
        targets=tuple(_target(t, by_port) for t in targets.get("activeTargets", ())),
        series={
            f"{metric} of {name}": _count(prometheus, f'{metric}{{instance=~".*:{service.port}"}}')
            for name, service in facts.manifest.services.items()
            if service.metrics and not service.optional
            for metric in ("up", "http_requests_total")
        },
        growth_bytes_per_h=_growth(prometheus, facts),
        firing=tuple(a["labels"].get("alertname", "") for a in alerts.get("alerts", ()) if a.get("state") == "firing"),
    )


def _is(service: Service, program: str) -> bool:
    return service.name == program or service.command[0].rpartition("/")[2] == program


def _target(target: dict[str, Any], by_port: dict[str, str]) -> ScrapeTarget:
    url = str(target.get("scrapeUrl", ""))
    port = url.partition("://")[2].partition("/")[0].rpartition(":")[2]
    return ScrapeTarget(
        service=by_port.get(port, ""),
        url=url,
        health=str(target.get("health", "unknown")),
        last_error=str(target.get("lastError", "")),
    )


def _count(prometheus: Service, expression: str) -> int:
    found = _get(prometheus, f"/api/v1/query?query={quote(expression)}")
    return len(found.get("result", ())) if isinstance(found, dict) else 0


def _growth(prometheus: Service, facts: Facts) -> dict[str, float]:
    """Return how fast each service's memory grew in half an hour; services with fewer samples are left out."""
    metric = "process_resident_memory_bytes"
    expression = f"deriv({metric}[30m]) * 3600 and count_over_time({metric}[30m]) >= 60"
    found = _get(prometheus, f"/api/v1/query?query={quote(expression)}")
    names = {str(service.port): name for name, service in facts.manifest.services.items()}
    growth = {}
    for series in found.get("result", ()) if isinstance(found, dict) else ():
        name = names.get(str(series["metric"].get("instance", "")).rpartition(":")[2])
        if name:
            growth[name] = float(series["value"][1])
    return growth


def _get(service: Service, path: str) -> Any:
    """Return `data` of a successful response of the HTTP API v1, or None."""
    response = probe_http(service.url + path, timeout_s=_TIMEOUT_S, max_body_bytes=_BODY_BYTES)
    try:
        body = msgspec.json.decode(response.body)
    except msgspec.DecodeError:
        return None
    return body.get("data") if isinstance(body, dict) and body.get("status") == "success" else None


MONITORING: Fact[MonitoringFacts] = Fact("monitoring", MonitoringFacts, _gather)
