"""The services' health responses: status, body, time."""

from collections.abc import Iterator

from toombos_cli.base.findings import Check, Evidence, Finding, fail, ok, unjudged, warn
from toombos_cli.base.fixes import Fix, advice, toombos
from toombos_cli.base.results import Verdict
from toombos_cli.base.text import one_line, seconds
from toombos_cli.diagnose.checks.context import wanted
from toombos_cli.diagnose.checks.log_evidence import in_its_log, in_log_of_a_store
from toombos_cli.diagnose.checks.network import NOT_REACHED
from toombos_cli.diagnose.checks.redis import STORES
from toombos_cli.diagnose.facts.machine import MACHINE
from toombos_cli.diagnose.facts.probes import PROBES, Probe, ServiceProbes
from toombos_cli.diagnose.facts.source import Facts, FactUnavailableError
from toombos_cli.diagnose.facts.system import SYSTEM
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes import Cause, Reason, health_verdict
from toombos_cli.project.commands import logs

_GROUP = "health"
_FEWEST_REQUESTS = 20
_SLOW_RATIO = 0.05
_HTTP = (Reason.STATUS, Reason.BODY, Reason.COMMAND, Reason.RESET, Reason.TLS, Reason.DNS)


def status(facts: Facts) -> Iterator[Finding]:
    """A service's health response is not "healthy"."""
    for name, probes in facts.get(PROBES).items():
        health = probes.health
        if health.reason is Reason.ERROR and _counts(facts, name):
            yield unjudged(f"{name} could not be probed: {health.detail}", service=name)
        if health.reason not in _HTTP or not _counts(facts, name):
            continue
        answer = warn if health_verdict(health.reason, health.cause) is Verdict.WARN else fail
        cause, fix = _cause_and_fix(facts, name, health)
        yield answer(
            f"{name} does not give a healthy response: {health.detail}",
            Evidence(source=health.url, text=one_line(health.body) or health.detail),
            service=name,
            cause=cause,
            fix=fix,
            explained_by=_in_logs(facts, name) if _is_its_own_trouble(health) else "",
        )


def _in_logs(facts: Facts, name: str) -> str:
    """Return the finding about its own log, or else that of a service that it uses, that explains its response."""
    return in_its_log(facts, name) or in_log_of_a_store(facts, name)


def _is_its_own_trouble(health: Probe) -> bool:
    """Return whether the service says or shows that it is not well, rather than that it was asked the wrong way."""
    if health.reason is Reason.STATUS:
        return (health.http_status or 0) >= 500
    if health.cause in (Cause.HTTP2, Cause.NOT_HTTP, Cause.WEB_PAGE):
        return False
    return health.reason in (Reason.BODY, Reason.COMMAND, Reason.RESET)


def _cause_and_fix(facts: Facts, name: str, health: Probe) -> tuple[str, Fix]:
    """Return the likely cause of an unhealthy response: often the manifest describes the service wrongly."""
    table = f"[services.{name}] of toombos.toml"
    if health.cause is Cause.CERTIFICATE:
        way = f"renew it, correct host, or name its authority: ca_file in {table}"
        return "it has expired, is for another name, or is signed by an unknown authority", advice(way)
    if health.cause is Cause.CLIENT_CERTIFICATE:
        return "it knows its clients by certificates", advice(f"name one that it accepts: client_cert in {table}")
    if health.cause is Cause.HTTP2:
        return "probes speak HTTP/1.1 by default", advice(f"http2 = true in {table}")
    if health.reason == Reason.TLS:
        scheme = "https" if health.url.startswith("http:") else "http"
        return "the manifest and the service do not agree on TLS", advice(f'correct scheme = "{scheme}" in {table}')
    if health.reason == Reason.DNS:
        return "neither the hosts file nor DNS knows the name", advice(f"correct host in {table}")
    if health.cause is Cause.NOT_HTTP:
        return "it does not speak HTTP", advice(f'if that is intended: scheme = "tcp" in {table}')
    if health.cause is Cause.WEB_PAGE:
        cause = "a catch-all route or another program sends the response"
        return cause, advice(f"name the service's health route: health in {table}")
    if health.reason == Reason.STATUS and (known := _behind_the_status(facts, name, health.http_status or 0)):
        return known
    errors = logs(facts.manifest, name, "--errors")
    if health.cause is Cause.STARTING:
        return "it has not finished starting", logs(facts.manifest, name, "--startup")
    if health.cause is Cause.UNEXPECTED:
        return "a condition of the manifest does not hold", errors
    if health.reason is Reason.COMMAND:
        return "its health command fails", toombos(facts.manifest.project, "health", name)
    if health.http_status is None:
        return "the service closed the connection before it responded", errors
    return "the service reports that it is not well", errors


def _behind_the_status(facts: Facts, name: str, status: int) -> tuple[str, Fix] | None:
    """Return the cause and fix of a status that points to a wrong health route, or None."""
    table, path = f"[services.{name}] of toombos.toml", facts.manifest.services[name].health_path
    if status in (404, 405, 410):
        cause = f"it has no route GET {path}, or another program answers there"
        return cause, advice(f"name an existing route: health in {table}")
    if status in (401, 403, 407):
        way = f"allow {path} without a key, or name another route: health in {table}"
        return "its health route requires a key, and probes send none", advice(way)
    if 300 <= status < 400:
        return "probes do not follow redirects", advice(f"name the route that it redirects to: health in {table}")
    return None


def latency(facts: Facts) -> Iterator[Finding]:
    """Responses that take longer than the manifest allows: now, or for 1 request in 20 since the start."""
    probes, services = facts.get(PROBES), facts.manifest.services
    times = {n: p.health.latency_ms for n, p in probes.items() if p.health.latency_ms is not None}
    hops = ", ".join(f"{name} {time_ms:.0f} ms" for name, time_ms in times.items())
    slow = False
    for name, time_ms in times.items():
        if time_ms > services[name].latency_warn_ms and _counts(facts, name):
            slow = True
            yield warn(
                f"{name} took {time_ms:.0f} ms to respond to a health request",
                Evidence(source=probes[name].health.url, text=hops),
                service=name,
                cause=_why_slow(facts, name, times),
                fix=toombos(facts.manifest.project, "restart", name)
                if services[name].role == "mock"
                else advice(_where_time_goes(facts, name)),
            )
    limit_s = facts.manifest.monitoring.thresholds.response_time_s
    for name, found in probes.items():
        passed_s = _passed_s(found, services[name], limit_s) if services[name].role == "app" else None
        if passed_s is not None:
            slow = True
            yield warn(
                f"more than 1 in 20 requests to {name} took longer than {seconds(passed_s)} since its start",
                Evidence(source=f"{services[name].url}{services[name].metrics}", text="http_request_duration_seconds"),
                service=name,
                cause=_why_slow(facts, name, times),
                fix=advice(_where_time_goes(facts, name)),
            )
    if not slow and hops:
        yield ok(hops)


def _where_time_goes(facts: Facts, name: str) -> str:
    profile = toombos(facts.manifest.project, "diagnose", "--profile", name)
    return f"see where the time goes: {profile}; then scale the slowest part"


def _why_slow(facts: Facts, name: str, times: dict[str, float]) -> str:
    """Return the likely cause: a slow dependency, a busy machine, or the service itself."""
    services = facts.manifest.services
    behind = [d for d in services[name].depends_on if times.get(d, 0.0) > services[d].latency_warn_ms]
    if behind:
        return f"its slowest dependency is {max(behind, key=lambda d: times[d])}"
    try:
        machine = facts.get(MACHINE)
    except FactUnavailableError:
        return "the service itself"
    figures = f"CPU {machine.cpu_ratio:.0%}, memory {machine.memory_ratio:.0%}, disk {machine.disk_ratio:.0%}"
    thresholds = facts.manifest.monitoring.thresholds
    if machine.cpu_ratio > thresholds.cpu_ratio or machine.memory_ratio > thresholds.memory_ratio:
        return f"the machine is busy: {figures}"
    return f"the machine is not busy ({figures}), so it is the service itself or something it waits for"


def _passed_s(probes: ServiceProbes, service: Service, limit_s: float) -> float | None:
    """Return the smallest bucket bound, at or above the limit, that more than 1 request in 20 exceeded.

    Count all routes together, except those that are probed. Return None if there is none, or too few requests.
    """
    if probes.metrics is None or not probes.metrics.ok:
        return None
    from prometheus_client.parser import text_string_to_metric_families

    probed = {service.health_path, service.live_path, service.ready_path, service.metrics}
    buckets: dict[float, float] = {}
    try:
        for family in text_string_to_metric_families(probes.metrics.body):
            if family.name == "http_request_duration_seconds":
                for sample in family.samples:
                    if "le" in sample.labels and not probed & set(sample.labels.values()):
                        bound = float(sample.labels["le"])
                        buckets[bound] = buckets.get(bound, 0.0) + sample.value
    except ValueError:  # truncated, or not Prometheus text: `metrics.endpoint` reports it
        return None
    total = max(buckets.values(), default=0.0)
    bound = min((bound for bound in buckets if bound >= limit_s), default=0.0)
    if total < _FEWEST_REQUESTS or total - buckets[bound] <= _SLOW_RATIO * total:
        return None
    return bound


def _counts(facts: Facts, name: str) -> bool:
    """Return whether this service's health matters: it should run, or toombos runs it."""
    system = facts.get(SYSTEM)
    return name in wanted(facts, system) or bool(system.services[name].pid)


STATUS = (
    Check(
        id="http.status",
        title="services report that they are well",
        group=_GROUP,
        run=status,
        follows=(
            *NOT_REACHED,
            "tls.dates",
            "net.proxy",
            "res.disk",
            "res.memory",
            "db.service",
            "db.perm",
            "db.ping",
            "db.locks",
            "db.pool",
            *STORES,
            "mock",
            "http.status",
        ),
    ),
)
SPEED = (
    Check(
        id="perf.latency",
        title="services respond quickly",
        group=_GROUP,
        run=latency,
        follows=(
            *NOT_REACHED,
            "net.timeout",
            "mock",
            "res.cpu",
            "res.memory",
            "res.load",
            "res.pressure",
            "db.ping",
            "db.locks",
            "perf.latency",
            "net.mock_urls",
        ),
    ),
)
