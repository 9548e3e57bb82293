"""Connections: whether services listen where they are called, accept connections, and respond."""

from collections.abc import Iterator

from toombos_cli.base.findings import Check, Evidence, Finding, fail, ok, skip, unjudged, warn
from toombos_cli.base.fixes import Fix, advice, toombos
from toombos_cli.base.name_lookup import is_only_local
from toombos_cli.diagnose.checks.context import wanted
from toombos_cli.diagnose.checks.log_evidence import in_its_log
from toombos_cli.diagnose.facts.local_ports import LOCAL_PORTS
from toombos_cli.diagnose.facts.machine import MACHINE
from toombos_cli.diagnose.facts.network import NETWORK
from toombos_cli.diagnose.facts.probes import PROBES, Probe
from toombos_cli.diagnose.facts.source import Facts, FactUnavailableError
from toombos_cli.diagnose.facts.system import SYSTEM
from toombos_cli.probes import Reason
from toombos_cli.project.commands import logs

_GROUP = "network"
_NEARLY_ALL, _ALL = 0.85, 0.97
NOT_REACHED = (
    "not_found",
    "client_urls",
    "net.local_ports",
    "port.conflict",
    "system.stopped",
    "port.mismatch",
    "proc.stopped",
    "proc.traced",
    "proc.waiting",
    "proc.descriptors",
    "proc.memory",
    "proc.limits",
    "proc.removed",
    "proc.crash_loop",
    "proc.missing",
    "task.failed",
)
"""What explains that a service cannot be reached."""


def bind(facts: Facts) -> Iterator[Finding]:
    """A service listens on the address that its callers use."""
    system, services = facts.get(SYSTEM), facts.manifest.services
    for name, found in system.services.items():
        own = [place for place in found.listens_at if place.port == services[name].port]
        wide = [place for place in own if place.host in ("0.0.0.0", "::")]  # noqa: S104  (compared with, not bound)
        if wide and is_only_local(services[name].host):
            yield warn(
                f"{name} listens on {wide[0].address}, for the whole network; the manifest says {services[name].host}",
                Evidence(source=wide[0].address, text=f"listened on by {wide[0]}"),
                service=name,
                cause="anyone who reaches this machine reaches the service",
                fix=_narrowed(facts, name),
            )
    for reached in facts.get(NETWORK).reached:
        found = system.services[reached.service]
        if (
            found.ours
            and found.holder
            and reached.address == services[reached.service].host
            and reached.reason == Reason.REFUSED
        ):
            yield fail(
                f"{reached.service} listens on {found.holder.address}, but {reached.address} refuses connections",
                Evidence(source=found.holder.address, text=f"listened on by {found.holder}"),
                service=reached.service,
                cause="it is bound to a different address or address family than its callers use",
                fix=advice(f"set host of {reached.service} to {found.holder.host}, or bind it to {reached.address}"),
            )


def _narrowed(facts: Facts, name: str) -> Fix:
    """Return how to let a service listen on its host alone: by its own command or variable, if that is known."""
    service, table = facts.manifest.services[name], f"[services.{name}] of toombos.toml"
    everywhere = ("0.0.0.0", "::", "[::]")  # noqa: S104  (compared with, not bound)
    word = next((word for word in service.command if word.rpartition("=")[2].rpartition(":")[0] in everywhere), "")
    word = word or next((word for word in service.command if word.rpartition("=")[2] in everywhere), "")
    variable = next((key for key, value in service.env.items() if value in everywhere), "")
    if word:
        way = f"write {service.host} in place of {word} in command of {table}"
    elif variable:
        way = f'{variable} = "{service.host}" in env of {table}'
    else:
        way = f"give it the option or the variable with which its program listens on {service.host} alone ({table})"
    return advice(f"{way}; or, if the whole network is meant, name its host there")


def refused(facts: Facts) -> Iterator[Finding]:
    """Nobody listens on a service's port."""
    for name, probe in _asked(facts):
        if probe.reason == Reason.REFUSED:
            yield fail(
                f"{name} refuses connections: {probe.detail}",
                Evidence(source=probe.url, text=probe.reason),
                service=name,
                cause="its process is not listening (yet)",
                fix=logs(facts.manifest, name, "--startup"),
                explained_by=in_its_log(facts, name),
            )


def timeout(facts: Facts) -> Iterator[Finding]:
    """A service accepts the connection, or ignores it, and does not respond."""
    system = facts.get(SYSTEM)
    for name, probe in _asked(facts):
        if probe.reason == Reason.TIMEOUT:
            holder = system.services[name].holder
            who = (Evidence(source=holder.address, text=f"listened on by {holder}"),) if holder else ()
            cause, fix = _why_silent(facts, name)
            yield fail(
                f"{name} does not answer: {probe.detail}",
                Evidence(source=probe.url, text=probe.reason),
                *who,
                service=name,
                cause=cause,
                fix=fix,
                explained_by=in_its_log(facts, name),
            )


def _why_silent(facts: Facts, name: str) -> tuple[str, Fix]:
    """Return why a service that accepts connections does not answer, and what helps."""
    found, restart = facts.get(SYSTEM).services[name], toombos(facts.manifest.project, "restart", name)
    if not found.pid:
        look = f"look at {found.holder}" if found.holder else "look for a packet filter that drops the packets"
        return "the process that listens there does not respond", advice(look)
    where = toombos(facts.manifest.project, "diagnose", "--profile", name)
    try:
        percent = facts.get(MACHINE).service_cpu_percent.get(name, 0.0)
    except FactUnavailableError:
        percent = 0.0
    if percent < 100 * facts.manifest.monitoring.thresholds.cpu_ratio:
        return f"it is blocked or overloaded: {where} shows the stacks of a Python service", restart
    return (
        f"its process is busy ({percent:.0f} % of a core), so that it does not get to its requests",
        advice(f"see where, if it is Python: {where}; {restart} ends it"),
    )


def tcp(facts: Facts) -> Iterator[Finding]:
    """Which loopback addresses accept connections to each service."""
    found = facts.get(NETWORK)
    for name in wanted(facts, facts.get(SYSTEM)):
        reached = [r for r in found.reached if r.service == name]
        if any(r.reason == Reason.ERROR for r in reached) and not any(r.reason == Reason.OK for r in reached):
            yield unjudged(f"{name} could not be connected to from here", service=name)
        elif reached and not any(r.reason == Reason.OK for r in reached):
            yield fail(
                f"no connection to {name}: " + ", ".join(f"{r.address} {r.reason}" for r in reached),
                *(Evidence(source=r.address, text=r.reason) for r in reached),
                service=name,
                cause="nothing listens on its port, or a packet filter blocks it",
                fix=toombos(facts.manifest.project, "status"),
            )
        else:
            yield ok(f"{name}: " + ", ".join(f"{r.address} {r.reason}" for r in reached), service=name)


def _asked(facts: Facts) -> Iterator[tuple[str, Probe]]:
    """Yield the health probes of the services that should respond, and of optional ones whose port is in use."""
    probes, system = facts.get(PROBES), facts.get(SYSTEM)
    names = wanted(facts, system)
    for name, found in probes.items():
        in_use = system.services[name].holder is not None and found.health.reason is not Reason.OK
        if name in names or in_use:
            yield name, found.health


def local_ports(facts: Facts) -> Iterator[Finding]:
    """Local ports are left for outgoing connections: one destination can have only as many as the range has."""
    found = facts.get(LOCAL_PORTS)
    if found is None:
        yield skip("this system does not show its connections")
    elif found.ratio < _NEARLY_ALL:
        yield ok(f"the busiest destination uses {found.ratio:.0%} of the local ports")
    else:
        holder = f", most of them of {found.holder}" if found.holder else ""
        wider = f"sudo sysctl -w net.ipv4.ip_local_port_range='1024 {max(found.last, 65535)}'"
        yield (fail if found.ratio >= _ALL else warn)(
            f"{found.used} of {found.last - found.first + 1} local ports are taken by connections to "
            f"{found.destination}{holder}",
            Evidence(
                source="/proc/sys/net/ipv4/ip_local_port_range",
                text=f"{found.first} to {found.last}; {found.waiting} of them closed (TIME_WAIT)",
            ),
            cause="without a free one, no further connection can be made there (Cannot assign requested address)",
            fix=advice(f"let its clients keep connections open and use them again, or widen the range: {wider}"),
        )


CHECKS = (
    Check(id="net.local_ports", title="connections can be made", group=_GROUP, run=local_ports),
    Check(
        id="net.bind",
        title="services listen where they are called",
        group=_GROUP,
        run=bind,
        follows=("port.conflict",),
    ),
    Check(
        id="net.refused",
        title="connections are accepted",
        group=_GROUP,
        run=refused,
        follows=(*NOT_REACHED, "net.bind", "dns"),
    ),
    Check(
        id="net.timeout",
        title="services respond in time",
        group=_GROUP,
        run=timeout,
        follows=(*NOT_REACHED, "net.firewall", "dns", "db.locks", "db.pool"),
    ),
    Check(
        id="net.tcp",
        title="ports can be reached",
        group=_GROUP,
        run=tcp,
        follows=(*NOT_REACHED, "net.bind", "net.refused", "net.timeout", "net.firewall"),
    ),
)
