"""What services say of those they depend on, in their readiness answers."""

from collections.abc import Iterator

import msgspec

from toombos_cli.diagnose.check import Check
from toombos_cli.diagnose.checks.answers import fail, toombos, warn
from toombos_cli.diagnose.checks.network import NOT_REACHED
from toombos_cli.diagnose.facts.probes import PROBES
from toombos_cli.diagnose.facts.source import Facts
from toombos_cli.findings import Answer, Evidence

_GROUP = "network"


def mock_urls(facts: Facts) -> Iterator[Answer]:
    """A service reaches those it depends on, as it says itself in its readiness answer."""
    for name, entry in _unready(facts):
        if entry["name"] in facts.manifest.services:
            yield _not_ready(facts, name, entry, f"{name} does not reach {entry['name']}")


def fetcher(facts: Facts) -> Iterator[Answer]:
    """A service gets its source document."""
    for name, entry in _unready(facts):
        if "document" in entry["name"]:
            yield _not_ready(facts, name, entry, f"{name} cannot fetch its document")


def readiness(facts: Facts) -> Iterator[Answer]:
    """What else a service says keeps it from being ready."""
    for name, entry in _unready(facts):
        if entry["name"] not in facts.manifest.services and "document" not in entry["name"]:
            yield _not_ready(facts, name, entry, f"{name} is not ready: {entry['name']}")


def _unready(facts: Facts) -> Iterator[tuple[str, dict[str, str]]]:
    """Each component that a service's readiness answer says is not ready: `{"name", "message", "required"}`."""
    for name, probes in facts.get(PROBES).items():
        if probes.ready is None:
            continue
        try:
            answer = msgspec.json.decode(probes.ready.body)
            entries = [e for e in answer["checks"] if e["ready"] is False]
        except (msgspec.DecodeError, KeyError, TypeError):
            continue
        for entry in entries:
            yield name, {key: str(entry.get(key, "")) for key in ("name", "message", "required")}


def _not_ready(facts: Facts, name: str, entry: dict[str, str], reason: str) -> Answer:
    answer = fail if entry["required"] == "True" else warn
    probe = facts.get(PROBES)[name].ready
    return answer(
        f"{reason}: {entry['message']}",
        Evidence(source=probe.url if probe else name, text=f"{entry['name']}: {entry['message']}"),
        service=name,
        cause="it says so itself, in its readiness answer",
        command=toombos(facts, "logs", name, "--errors"),
    )


CHECKS = (
    Check(
        id="net.mock_urls",
        title="services reach those they depend on",
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
        follows=("res.disk", "res.memory", "db.service", "db.perm", "db.ping", "db.pool"),
    ),
)
