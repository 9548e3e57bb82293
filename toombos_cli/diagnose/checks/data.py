"""Whether the services' interfaces match the manifest's requests and describe their responses."""

import re
from collections.abc import Iterator

from toombos_cli.base.findings import Check, Evidence, Finding, fail, ok, skip, warn
from toombos_cli.base.fixes import advice
from toombos_cli.diagnose.facts.probes import PROBES, Operation
from toombos_cli.diagnose.facts.source import Facts
from toombos_cli.probes import Cause

_GROUP = "data"
_UNDOCUMENTED_METHODS = ("HEAD", "OPTIONS")
"""Servers respond to these without a line in the OpenAPI document."""


def interface(facts: Facts) -> Iterator[Finding]:
    """Every request in the manifest (smoke steps, load target) exists in the service's OpenAPI document."""
    probes = facts.get(PROBES)
    judged = False
    requests = [
        (step.service, step.method, step.path)
        for step in facts.manifest.smoke
        if step.path.startswith("/") and step.status != 404 and step.method not in _UNDOCUMENTED_METHODS
    ]
    if facts.manifest.load.service:
        requests.append((facts.manifest.load.service, facts.manifest.load.method, facts.manifest.load.path))
    for service, method, path in dict.fromkeys(requests):
        found = probes.get(service)
        if found is None or not found.operations or path in _undocumented(facts, service):
            continue
        judged = True
        if not any(_fits(operation, method, path) for operation in found.operations):
            yield fail(
                f"{service} no longer has {method} {path.partition('?')[0]}",
                Evidence(source=f"{facts.manifest.services[service].url}{facts.manifest.services[service].openapi}"),
                service=service,
                cause="its interface has changed, or another program answers on its port",
                fix=advice("review the service's /docs, and correct [[smoke]] or [load] in toombos.toml"),
            )
    if not judged:
        yield skip("no running service publishes an OpenAPI document")


def _undocumented(facts: Facts, service: str) -> set[str | None]:
    found = facts.manifest.services[service]
    return {found.health_path, found.live_path, found.ready_path, found.metrics, found.openapi}


def _fits(operation: Operation, method: str, path: str) -> bool:
    """Return whether the operation serves this path; `${...}` in it stands for anything."""
    if operation.method != method:
        return False
    pattern = re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(operation.path))
    return re.fullmatch(pattern, re.sub(r"\$\{[^}]*\}", "x", path.partition("?")[0])) is not None


def answers(facts: Facts) -> Iterator[Finding]:
    """Services describe their responses: any response matches an empty schema."""
    probes = facts.get(PROBES)
    judged = [name for name, found in probes.items() if found.operations]
    tested = [(step.service, step.method, step.path) for step in facts.manifest.smoke if step.json_schema is not False]
    unreadable = {name: p.openapi for name, p in probes.items() if p.openapi and p.openapi.cause is Cause.UNREADABLE}
    if not judged and not unreadable:
        yield skip("no running service publishes an OpenAPI document")
    for name, document in unreadable.items():
        yield warn(
            f"the OpenAPI document of {name} is not readable: {document.detail}",
            Evidence(source=document.url, text=document.detail),
            service=name,
            cause="its routes cannot be compared with the manifest, nor its responses with their schemas",
            fix=advice(f"correct the document, or openapi in [services.{name}] of toombos.toml"),
        )
    for name in judged:
        vague = [f"{o.method} {o.path}" for o in probes[name].operations if not o.described]
        relied_on = [
            f"{o.method} {o.path}"
            for o in probes[name].operations
            if not o.described and any(s == name and _fits(o, method, path) for s, method, path in tested)
        ]
        if relied_on:
            yield warn(
                f"{name} does not describe the responses of {', '.join(relied_on[:5])}",
                Evidence(
                    source=f"{facts.manifest.services[name].url}{facts.manifest.services[name].openapi}",
                    text="schema {}",
                ),
                service=name,
                cause="a response of any shape passes the smoke test",
                fix=advice("give the routes a response model, or say json_schema = false in the [[smoke]] step"),
            )
        elif vague:
            yield ok(f"{name} does not describe the responses of {len(vague)} operations", service=name)
        else:
            yield ok(f"{name} describes the responses of {len(probes[name].operations)} operations", service=name)


CHECKS = (
    Check(
        id="openapi.diff",
        title="interfaces match the manifest's requests",
        group=_GROUP,
        run=interface,
        follows=("port.conflict", "stale"),
    ),
    Check(id="openapi.responses", title="responses are described", group=_GROUP, run=answers),
)
