"""What the checks find at a place: only what its services say can be judged from here."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from toombos_cli.base.findings import Check, Evidence, Finding, fail, ok, skip, unjudged, warn
from toombos_cli.base.fixes import advice, toombos
from toombos_cli.base.results import Verdict
from toombos_cli.base.text import one_line
from toombos_cli.diagnose.facts.probes import PROBES, Probe
from toombos_cli.diagnose.facts.source import Facts
from toombos_cli.probes import Reason, health_verdict


def as_known_here(checks: tuple[Check[Facts], ...]) -> tuple[Check[Facts], ...]:
    """Return the checks as they run at a place: those that need the machine itself are skipped."""
    return tuple(replace(check, run=_AT_A_PLACE.get(check.id, _not_known)) for check in checks)


def _not_known(facts: Facts) -> Iterator[Finding]:
    yield skip(f"not known here: it needs the machines of the place {facts.manifest.source.place}")


def _health(facts: Facts) -> Iterator[Finding]:
    """Every service responds and says that it is well."""
    for name, probes in facts.get(PROBES).items():
        found = probes.health
        if found.reason is Reason.NOT_KNOWN:
            yield skip(f"{name}: {found.detail}")
        elif found.reason is Reason.ERROR:
            yield unjudged(f"{name} could not be probed: {found.detail}", service=name)
        elif found.ok:
            yield ok(f"{name} is well", service=name)
        elif _counts(facts, name, found):
            yield _unwell(facts, name, found, "does not give a healthy response")


def _readiness(facts: Facts) -> Iterator[Finding]:
    """Every service with a readiness route says that it is ready."""
    asked = {name: probes.ready for name, probes in facts.get(PROBES).items() if probes.ready is not None}
    if not asked:
        yield skip("no service that responds has a readiness route in the manifest")
    for name, found in asked.items():
        yield ok(f"{name} is ready", service=name) if found.ok else _unwell(facts, name, found, "is not ready")


def _metrics(facts: Facts) -> Iterator[Finding]:
    """Every service with a route for metrics responds there."""
    asked = {name: probes.metrics for name, probes in facts.get(PROBES).items() if probes.metrics is not None}
    if not asked:
        yield skip("no service that responds has metrics in the manifest")
    for name, found in asked.items():
        yield ok(f"{name} has metrics", service=name) if found.ok else _unwell(facts, name, found, "has no metrics")


def _latency(facts: Facts) -> Iterator[Finding]:
    """Every service responds within its latency_warn_ms."""
    for name, probes in facts.get(PROBES).items():
        found, limit_ms = probes.health, facts.manifest.services[name].latency_warn_ms
        if found.latency_ms is not None and found.latency_ms > limit_ms:
            yield warn(
                f"{name} took {found.latency_ms:.0f} ms to respond, more than {limit_ms:.0f} ms",
                Evidence(source=found.url, text=found.reason),
                service=name,
                fix=advice("look at the service, and at the way to it, on its own machine"),
            )


def _counts(facts: Facts, name: str, found: Probe) -> bool:
    """Report whether a service that is not well matters: an optional one that does not respond does not."""
    return found.http_status is not None or not facts.manifest.services[name].optional


def _unwell(facts: Facts, name: str, found: Probe, complaint: str) -> Finding:
    finding = warn if health_verdict(found.reason, found.cause) is Verdict.WARN else fail
    return finding(
        f"{name} {complaint}: {found.detail or found.reason}",
        Evidence(source=found.url, text=one_line(found.body) or found.reason),
        service=name,
        fix=toombos(facts.manifest.project, "health", name, "--at", facts.manifest.source.place),
    )


_AT_A_PLACE: Mapping[str, Callable[[Facts], Iterable[Finding]]] = {
    "http.status": _health,
    "ready": _readiness,
    "metrics.endpoint": _metrics,
    "perf.latency": _latency,
}
"""The checks that services themselves answer, by id."""
