"""Which processes listen on the services' ports, and where the services themselves listen."""

from collections.abc import Iterator
from pathlib import Path

from toombos_cli.base.addresses import host_port
from toombos_cli.base.findings import Check, Evidence, Finding, fail
from toombos_cli.base.fixes import advice, shell, toombos
from toombos_cli.diagnose.checks.context import held_back, start
from toombos_cli.diagnose.facts.probes import PROBES
from toombos_cli.diagnose.facts.source import Facts, FactUnavailableError
from toombos_cli.diagnose.facts.system import SYSTEM, ServiceFacts
from toombos_cli.probes import Reason
from toombos_cli.processes import shown_command
from toombos_cli.project.state import Phase

_GROUP = "process"
_ANSWERS_RIGHT = (Reason.OK, Reason.SLOW, Reason.TIMEOUT, Reason.REFUSED)


def is_foreign(facts: Facts, found: ServiceFacts) -> bool:
    """Return whether another program has the service's port.

    Either toombos runs the service and this is another process, or it poses as the service, or nobody started the
    service here and what listens does not respond as the service should.
    """
    if found.holder is None or found.ours:
        return False
    if found.poses:
        return True
    if found.by_hand is not None and found.by_hand.pid == found.holder.pid:
        return False
    words = shown_command(facts.manifest.services[found.name].command[1:])
    if not found.managed and words and words in (found.holder.command or ""):
        return False
    if facts.manifest.services[found.name].optional and not found.desired and found.phase != Phase.FAILED:
        return False
    if found.holder.pid is None and not facts.get(SYSTEM).sees_owners:
        return False  # it may be the service itself: only its own user, or its own container, can see that
    if found.managed:
        return True
    try:
        return facts.get(PROBES)[found.name].health.reason not in _ANSWERS_RIGHT
    except FactUnavailableError:
        return False


def port_conflict(facts: Facts) -> Iterator[Finding]:
    """Another program on a service's port. Only the listener is named: connected processes are clients."""
    system = facts.get(SYSTEM)
    waiting = held_back(facts, system)
    for name, found in system.services.items():
        holder = found.holder
        if holder is None or not is_foreign(facts, found):
            continue
        place = Evidence(source=holder.address, text=f"listened on by {holder}")
        cause = f"{name} cannot listen there while that process does"
        if holder.pid is None:
            yield fail(
                f"port {holder.port} of {name} is taken by a process of another user",
                place,
                service=name,
                cause=cause,
                fix=advice(f"sudo ss -ltnp 'sport = :{holder.port}' names it; end it, or give {name} another port"),
            )
            continue
        if holder.neighbour is not None:  # its own supervisor would restart it after a signal
            end = f"{toombos(Path(holder.neighbour.project), 'stop', holder.neighbour.service)} &&"
        else:
            end = f"kill {holder.pid} && timeout 10 tail --pid={holder.pid} -f /dev/null;"
        yield fail(
            f"port {holder.port} of {name} is taken by {holder}",
            place,
            service=name,
            cause=f"{cause}; if it is needed, give {name} another port in toombos.toml instead",
            fix=shell(f"{end} {start(facts, *(() if waiting else (name,)))}"),
        )


def port_mismatch(facts: Facts) -> Iterator[Finding]:
    """A service that runs and listens, but not where the manifest says."""
    for name, found in facts.get(SYSTEM).services.items():
        service = facts.manifest.services[name]
        elsewhere = found.listens_at if found.pid else ((found.by_hand,) if found.by_hand else ())
        places = [place for place in elsewhere if place.port]
        if not places or not service.port or found.ours or (found.by_hand and found.by_hand.port == service.port):
            continue
        place = next((place for place in places if place.port == service.port), places[0])
        if place.port == service.port:  # a restart binds it there again
            key = "host"
            fix = advice(f'set host = "{place.host}" in [services.{name}], or let {name} listen on {service.host}')
        else:
            key = "port"
            restart = toombos(facts.manifest.project, "restart", "--changed")
            fix = restart if found.pid else advice(f"end pid {place.pid}, then: {start(facts, name)}")
        yield fail(
            f"{name} listens on {place.address}, the manifest says {host_port(service.host, service.port)}",
            Evidence(source=place.address, text=f"listened on by {place}"),
            _in_manifest(facts, f"[services.{name}] {key}"),
            service=name,
            cause=f"clients that use the manifest's {key} do not reach it",
            fix=fix,
        )


def _in_manifest(facts: Facts, text: str) -> Evidence:
    return Evidence(source=str(facts.manifest.source.path or "toombos.toml (packaged)"), text=text)


CHECKS = (
    Check(id="port.conflict", title="no other program has a service's port", group=_GROUP, run=port_conflict),
    Check(
        id="port.mismatch",
        title="services listen where the manifest says",
        group=_GROUP,
        run=port_mismatch,
        follows=("port.conflict",),
    ),
)
