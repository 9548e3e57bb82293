"""What services report about their dependencies in their readiness responses."""

from collections.abc import Iterator

from toombos_cli.base.findings import Check, Evidence, Finding, fail, skip, unjudged, warn
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted
from toombos_cli.diagnose.checks.log_evidence import in_its_log
from toombos_cli.diagnose.checks.network import NOT_REACHED
from toombos_cli.diagnose.checks.redis import STORES
from toombos_cli.diagnose.facts.probes import PROBES
from toombos_cli.diagnose.facts.source import Facts
from toombos_cli.probes import Reason, is_ready
from toombos_cli.probes.health_document import is_not_required
from toombos_cli.project.commands import logs

_GROUP = "network"
_SHOWN_CHARS = 200


def mock_urls(facts: Facts) -> Iterator[Finding]:
    """A service reports in its readiness response that it reaches its dependencies."""
    parts = [(service, part) for service, part in _parts(facts) if part["name"] in facts.manifest.services]
    if not parts:
        yield skip("no running service reports whether it reaches another one")
    yield from (_not_ready(facts, s, p, f"{s} does not reach {p['name']}") for s, p in parts if _is_unready(p))


def fetcher(facts: Facts) -> Iterator[Finding]:
    """A service can fetch its source document."""
    parts = [(service, part) for service, part in _parts(facts) if "document" in part["name"]]
    if not parts:
        yield skip("no running service reports on a source document")
    yield from (_not_ready(facts, s, p, f"{s} cannot fetch its document") for s, p in parts if _is_unready(p))


def readiness(facts: Facts) -> Iterator[Finding]:
    """Anything else that keeps a service from being ready, as far as it reports it."""
    asked = {name: p.ready for name, p in facts.get(PROBES).items() if p.ready is not None}
    if not asked:
        yield skip("no running service has a readiness route in the manifest")
    parts = [(service, part) for service, part in _parts(facts) if _is_unready(part)]
    for service, part in parts:
        if part["name"] not in facts.manifest.services and "document" not in part["name"]:
            yield _not_ready(facts, service, part, f"{service} is not ready: {part['name']}")
    for service, probe in asked.items():
        if probe.reason is Reason.ERROR:
            yield unjudged(f"{service} could not be asked whether it is ready: {probe.detail}", service=service)
        elif not is_ready(probe.reason, probe.cause) and all(service != name for name, _ in parts):
            yield fail(
                f"{service} is not ready: {probe.detail or probe.reason}",
                Evidence(source=probe.url, text=" ".join(probe.body.split())[:_SHOWN_CHARS] or probe.reason),
                service=service,
                cause="it accepts no traffic, and does not say why",
                fix=logs(facts.manifest, service, "--errors"),
                explained_by=in_its_log(facts, service),
            )


def _parts(facts: Facts) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the parts in each service's readiness response: `{"name", "ready", "message", "required"}`.

    One that the service can do without is left out, as it says nothing against the service, unless it is a service of
    this system.
    """
    services = facts.manifest.services
    for name, probes in facts.get(PROBES).items():
        try:
            parts = decode_untrusted(probes.ready.body)["checks"] if probes.ready else []
            parts = [
                {key: str(part.get(key, "")) for key in ("name", "ready", "message", "required")}
                for part in parts
                if part.get("name") in services or not is_not_required(part)
            ]
        except (UntrustedError, KeyError, TypeError, AttributeError):
            continue
        yield from ((name, part) for part in parts)


def _is_unready(part: dict[str, str]) -> bool:
    return part["ready"] == "False"


def _not_ready(facts: Facts, name: str, part: dict[str, str], reason: str) -> Finding:
    answer = fail if part["required"] == "True" else warn
    probe = facts.get(PROBES)[name].ready
    return answer(
        f"{reason}: {part['message']}",
        Evidence(source=probe.url if probe else name, text=f"{part['name']}: {part['message']}"),
        service=name,
        cause="the service itself reports this in its readiness response",
        fix=logs(facts.manifest, name, "--errors"),
        explained_by=in_its_log(facts, name),
    )


CHECKS = (
    Check(
        id="net.mock_urls",
        title="services reach their dependencies",
        group=_GROUP,
        run=mock_urls,
        follows=(*NOT_REACHED, "stale", "mock", "net.refused", "net.timeout", "net.bind", "http.status", "dns"),
    ),
    Check(
        id="net.fetcher",
        title="the source document can be fetched",
        group=_GROUP,
        run=fetcher,
        follows=("missing", "types", "dns", "net.mock_urls"),
    ),
    Check(
        id="ready",
        title="services are ready",
        group=_GROUP,
        run=readiness,
        follows=(
            *NOT_REACHED,
            "net.refused",
            "net.timeout",
            "http.status",
            "res.disk",
            "res.memory",
            "db.service",
            "db.perm",
            "db.ping",
            "db.locks",
            "db.pool",
            *STORES,
        ),
    ),
)
