"""Metrics, from the service's endpoint through Prometheus to Grafana."""

from collections.abc import Iterator

from toombos_cli.base.findings import Check, Evidence, Finding, fail, ok, skip, unjudged, warn
from toombos_cli.base.fixes import advice, here, toombos
from toombos_cli.diagnose.checks.context import wanted
from toombos_cli.diagnose.checks.network import NOT_REACHED
from toombos_cli.diagnose.facts.monitoring import MONITORING
from toombos_cli.diagnose.facts.probes import PROBES
from toombos_cli.diagnose.facts.source import Facts
from toombos_cli.diagnose.facts.system import SYSTEM
from toombos_cli.probes import Reason

_GROUP = "monitoring"
_NOT_MEASURED = "no running service has metrics in the manifest"


def _not_running() -> Finding:
    return skip(f"Prometheus is not running: {here('monitoring', 'up')}")


def endpoint(facts: Facts) -> Iterator[Finding]:
    """Every service with a metrics route in the manifest has metrics."""
    measured = {name: p.metrics for name, p in facts.get(PROBES).items() if p.metrics is not None}
    if not measured:
        yield skip(_NOT_MEASURED)
    for name, metrics in measured.items():
        if metrics.reason is Reason.ERROR:
            yield unjudged(f"{name} could not be asked for its metrics: {metrics.detail}", service=name)
        elif not metrics.ok:
            yield fail(
                f"{name} has no metrics: {metrics.detail or metrics.reason}",
                Evidence(source=metrics.url, text=metrics.detail or metrics.reason),
                service=name,
                cause="nothing can be measured; its panels show no data",
                fix=advice(
                    f"add the route (prometheus-client), or correct metrics in [services.{name}] of toombos.toml"
                ),
            )
        elif not any(line and line[0] not in "#<{" for line in metrics.body.splitlines()):
            yield fail(
                f"the metrics of {name} contain no sample",
                Evidence(source=metrics.url, text="no line with a value"),
                service=name,
                cause="the response is not in the Prometheus text format",
                fix=advice("register the service's metrics with the registry that the route exports"),
            )


def exported(facts: Facts) -> Iterator[Finding]:
    """How many samples each service exports, for information."""
    measured = {name: p.metrics for name, p in facts.get(PROBES).items() if p.metrics is not None and p.metrics.ok}
    if not measured:
        yield skip(_NOT_MEASURED)
    for name, metrics in measured.items():
        lines = [line for line in metrics.body.splitlines() if line and not line.startswith("#")]
        yield ok(f"{name}: {len(lines)} samples", service=name)


def targets(facts: Facts) -> Iterator[Finding]:
    """Prometheus reaches every target, and has every service among them."""
    found = facts.get(MONITORING)
    if not found.targets and not found.problem:
        yield _not_running()
        return
    if found.problem:
        yield fail(
            found.problem,
            cause="it is starting, or another program has its port",
            fix=toombos(facts.manifest.project, "monitoring", "status"),
        )
    for target in found.targets:
        if target.health == "down":
            yield fail(
                f"Prometheus cannot scrape {target.service or target.url}: {target.last_error}",
                Evidence(source=target.url, text=target.last_error),
                service=target.service,
                cause="the scrape fails, so its series end",
                fix=toombos(facts.manifest.project, "monitoring", "check"),
            )
    scraped = {target.service for target in found.targets}
    system = facts.get(SYSTEM)
    for name in wanted(facts, system):
        service = facts.manifest.services[name]
        if service.metrics and service.role != "monitoring" and name not in scraped:
            yield warn(
                f"Prometheus has no target for {name}",
                Evidence(source="prometheus", text=f"no target with port {service.port}"),
                service=name,
                cause="it was configured before the service was added, or reads another file",
                fix=toombos(facts.manifest.project, "monitoring", "reload"),
            )


def series(facts: Facts) -> Iterator[Finding]:
    """The series that the panels draw exist."""
    found = facts.get(MONITORING)
    if not found.series:
        yield _not_running()
        return
    for what, count in found.series.items():
        metric, _, name = what.rpartition(" of ")
        up = next((t for t in found.targets if t.service == name), None)
        if not count and up is not None and up.health != "unknown":
            yield warn(
                f"Prometheus has no series {metric} of {name}",
                Evidence(source="prometheus", text=f"{metric}: 0 series"),
                service=name,
                cause="the service does not export it, or has not received a request yet",
                fix=toombos(facts.manifest.project, "monitoring", "check"),
            )


def no_data(facts: Facts) -> Iterator[Finding]:
    """Panels that show "No data", by service."""
    found = facts.get(MONITORING)
    if not found.series:
        yield _not_running()
        return
    for target in found.targets:
        if target.service and target.health == "down":
            yield warn(
                f'panels of {target.service} show "No data"',
                Evidence(source=target.url, text=target.last_error),
                service=target.service,
                cause="Prometheus gets no samples from it",
                fix=toombos(facts.manifest.project, "monitoring", "check"),
            )


def grafana(facts: Facts) -> Iterator[Finding]:
    """Grafana responds, if it was started."""
    system, probes = facts.get(SYSTEM), facts.get(PROBES)
    dashboards = {n: s for n, s in facts.manifest.services.items() if s.role == "monitoring" and "grafana" in n}
    if not dashboards:
        yield skip("the manifest has no Grafana")
    for name, service in dashboards.items():
        health = probes[name].health
        if health.ok:
            yield ok(f"{name} answers at {service.url}", service=name)
        elif not system.services[name].desired:
            yield skip(f"{name} was not started: {here('monitoring', 'up')}")
        else:
            yield fail(
                f"{name} does not answer: {health.detail}",
                Evidence(source=health.url, text=health.reason),
                service=name,
                cause="dashboards cannot be loaded",
                fix=toombos(facts.manifest.project, "monitoring", "restart"),
            )


def firing(facts: Facts) -> Iterator[Finding]:
    """Alerts that are firing now, for information."""
    found = facts.get(MONITORING)
    if not found.targets:
        yield _not_running()
        return
    yield ok(f"firing: {', '.join(found.firing)}" if found.firing else "no alert is firing")


CHECKS = (
    Check(
        id="metrics.endpoint",
        title="services have metrics",
        group=_GROUP,
        run=endpoint,
        follows=(*NOT_REACHED, "net.timeout", "http.status", "net.bind"),
    ),
    Check(id="metrics", title="metrics that services export", group=_GROUP, run=exported),
    Check(
        id="prom.targets",
        title="Prometheus reaches its targets",
        group=_GROUP,
        run=targets,
        follows=(
            *NOT_REACHED,
            "prometheus",
            "net.timeout",
            "net.refused",
            "http.status",
            "metrics.endpoint",
            "net.bind",
        ),
    ),
    Check(
        id="prom.series",
        title="Prometheus has the series",
        group=_GROUP,
        run=series,
        follows=("prometheus", "metrics.endpoint", "prom.targets"),
    ),
    Check(
        id="metrics.nodata",
        title="panels have data",
        group=_GROUP,
        run=no_data,
        follows=(
            *NOT_REACHED,
            "prometheus",
            "net.timeout",
            "net.refused",
            "http.status",
            "metrics.endpoint",
            "prom.targets",
            "prom.series",
        ),
    ),
    Check(
        id="grafana",
        title="Grafana responds",
        group=_GROUP,
        run=grafana,
        follows=(
            "port.conflict",
            "proc.missing",
            "task.failed",
            "proc.crash_loop",
            "net.refused",
            "net.timeout",
            "http.status",
        ),
    ),
    Check(id="alerts", title="alerts that are firing", group=_GROUP, run=firing),
)
