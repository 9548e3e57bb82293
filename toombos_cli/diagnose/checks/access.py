"""Keys: required where they should be, the right one accepted, a wrong one rejected, and declared in the documents."""

from collections.abc import Iterator

from toombos_cli.base.findings import Check, Evidence, Finding, fail, ok, skip, warn
from toombos_cli.base.fixes import advice, toombos
from toombos_cli.diagnose.checks.context import after_a_change
from toombos_cli.diagnose.facts.access import ACCESS
from toombos_cli.diagnose.facts.probes import PROBES
from toombos_cli.diagnose.facts.source import Facts

_GROUP = "security"
_REFUSALS = (401, 403)


def key_check(facts: Facts) -> Iterator[Finding]:
    """The running service accepts the configured key, decrypted."""
    found = facts.get(ACCESS)
    if not found:
        yield skip("no running service declares a route that requires a key")
    for access in found:
        at = Evidence(source=access.url, text=f"HTTP {access.right} with {access.variable}")
        if not access.key_set:
            yield ok(f"{access.variable} is not set", service=access.service)
        elif access.right in _REFUSALS:
            refusal = fail(
                f"{access.service} rejects the configured {access.variable}",
                at,
                service=access.service,
                cause="it was started with another key, or the stored one was encrypted with another encryption key",
                fix=toombos(facts.manifest.project, "restart", access.service),
            )
            yield after_a_change(facts, refusal)
        elif access.right is not None:
            yield ok(f"{access.service} accepts {access.variable}", at, service=access.service)


def middleware(facts: Facts) -> Iterator[Finding]:
    """A wrong key is always rejected, and a missing one if a key is set."""
    found = facts.get(ACCESS)
    if not found:
        yield skip("no running service declares a route that requires a key")
    for access in found:
        if access.wrong is not None and access.wrong not in _REFUSALS:
            yield fail(
                f"{access.service} accepts a wrong key (HTTP {access.wrong})",
                Evidence(source=access.url, text=f"HTTP {access.wrong} with a random key"),
                service=access.service,
                cause="authentication is not enforced",
                fix=advice("put the route behind the authentication dependency, and restart the service"),
            )
        elif access.key_set and access.without is not None and access.without not in _REFUSALS:
            open_door = fail(
                f"{access.service} accepts requests without {access.variable} (HTTP {access.without})",
                Evidence(source=access.url, text=f"HTTP {access.without} without a key"),
                service=access.service,
                cause="it was started before the key was set, or authentication is not enforced",
                fix=toombos(facts.manifest.project, "restart", access.service),
            )
            yield after_a_change(facts, open_door)


def declared(facts: Facts) -> Iterator[Finding]:
    """A service that has keys declares them on every route except those for probes."""
    users = {used for v in facts.manifest.environment.values() if v.role == "access_key" for used in v.used_by}
    probes = facts.get(PROBES)
    if not any(probes[name].operations for name in users if name in probes):
        yield skip("no running service that has a key publishes an OpenAPI document")
    for name in users & probes.keys():
        service, found = facts.manifest.services[name], probes[name]
        public = {service.health_path, service.live_path, service.ready_path, service.metrics, service.openapi}
        open_routes = [
            f"{o.method} {o.path}"
            for o in found.operations
            if not o.secured and o.path not in public and not o.path.startswith(service.health_path) and o.path != "/"
        ]
        if open_routes:
            yield warn(
                f"{name} declares routes without a key: {', '.join(open_routes[:5])}",
                Evidence(
                    source=f"{service.url}{service.openapi}", text=f"{len(open_routes)} operations without security"
                ),
                service=name,
                cause="anyone who can reach the port can call them",
                fix=advice("give them the same authentication dependency as the other routes"),
            )


CHECKS = (
    Check(
        id="auth.keycheck",
        title="the configured key is accepted",
        group=_GROUP,
        run=key_check,
        follows=("stale", "secret_set", "shadow"),
    ),
    Check(
        id="auth.middleware",
        title="wrong keys are rejected",
        group=_GROUP,
        run=middleware,
        follows=("stale", "auth.keycheck"),
    ),
    Check(id="openapi.security", title="routes declare their key", group=_GROUP, run=declared),
)
