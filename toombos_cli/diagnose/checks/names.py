"""Host names, and what can be between a client and a service: proxies, packet filters, containers."""

from collections.abc import Iterator

from toombos_cli.base.addresses import is_loopback
from toombos_cli.base.findings import Check, Evidence, Finding, fail, ok, skip, warn
from toombos_cli.base.fixes import advice, shell
from toombos_cli.diagnose.facts.network import NETWORK
from toombos_cli.diagnose.facts.source import Facts

_GROUP = "network"
_HOSTS = "/etc/hosts"


def dns(facts: Facts) -> Iterator[Finding]:
    """Host names in use resolve, every time and to the same address."""
    for lookup in facts.get(NETWORK).lookups:
        at = Evidence(source=lookup.host, text=f"used by {lookup.used_by}")
        failed = sum(not answer for answer in lookup.answers)
        if failed or not lookup.answers:
            sometimes = (
                f"{failed} of {len(lookup.answers)} lookups failed" if failed < len(lookup.answers) else lookup.problem
            )
            yield fail(
                f"the host name {lookup.host} does not resolve: {sometimes}",
                at,
                cause="an intermittent resolver"
                if failed < len(lookup.answers)
                else "neither DNS nor the hosts file knows it",
                fix=advice(
                    f"use an IP address (127.0.0.1), add it to {_HOSTS}, or correct the server in /etc/resolv.conf"
                ),
            )
        elif len(set(lookup.answers)) > 1:
            yield warn(
                f"{lookup.host} resolves differently each time: {'; '.join(sorted(set(lookup.answers)))}",
                at,
                cause="it has several records; one may be out of date",
                fix=advice("use an IP address, or correct the name server"),
            )
        else:
            yield ok(f"{lookup.host} is {lookup.answers[0]}", at)


def hosts(facts: Facts) -> Iterator[Finding]:
    """/etc/hosts gives localhost the loopback address."""
    found = facts.get(NETWORK)
    if found.hosts_problem:
        yield skip(found.hosts_problem)
        return
    lines = tuple(Evidence(source=_HOSTS, line=number, text=text) for number, text in found.hosts_lines)
    foreign = [address for address in found.hosts_localhost if not is_loopback(address)]
    if foreign:
        yield fail(
            f"localhost is {', '.join(foreign)} in {_HOSTS}",
            *lines,
            cause="clients that use localhost reach a different address than the services use",
            fix=advice(f"write in {_HOSTS}: 127.0.0.1 localhost"),
        )
    else:
        yield ok(f"localhost is {', '.join(found.hosts_localhost) or 'not in the file'}", *lines)


def proxy(facts: Facts) -> Iterator[Finding]:
    """A proxy that would intercept requests to the loopback address."""
    found = facts.get(NETWORK)
    covered = {part.strip().lower() for part in found.no_proxy.split(",")}
    if not found.proxies:
        yield ok("no proxy is set")
    elif "*" not in covered and not {"127.0.0.1", "localhost"} <= covered:
        yield warn(
            f"{', '.join(found.proxies)} is set, and NO_PROXY does not name 127.0.0.1 and localhost",
            Evidence(source="environment", text=", ".join(found.proxies)),
            cause="curl and most HTTP libraries send requests for local services to the proxy; toombos itself does not",
            fix=shell("export NO_PROXY=127.0.0.1,localhost,::1" + (",$NO_PROXY" if found.no_proxy else "")),
        )


def firewall(facts: Facts) -> Iterator[Finding]:
    """Packet filters that name a service's port."""
    found = facts.get(NETWORK)
    if found.firewall_skipped:
        yield skip(found.firewall_skipped)
        return
    ports = {str(s.port): s.name for s in facts.manifest.services.values()}
    for rule in found.firewall:
        named = [ports[word] for word in rule.replace(",", " ").replace("{", " ").split() if word in ports]
        if named:
            yield warn(
                f"a packet filter drops or rejects traffic to {', '.join(named)}",
                Evidence(source="packet filter", text=rule),
                service=named[0],
                cause="connections time out or are refused although the service is up",
                fix=advice("remove the rule with the tool that made it (ufw status numbered, nft -a list ruleset)"),
            )


def docker(facts: Facts) -> Iterator[Finding]:
    """Containers: their loopback is not the host's, and they may publish the ports of services."""
    found = facts.get(NETWORK)
    if found.in_container:
        yield ok("toombos runs in a container: 127.0.0.1 is the container's own, not the host's")
    if not found.docker:
        yield skip("docker is not available here")
        return
    for line in found.docker.splitlines():
        name, _, ports = line.partition(" ")
        for service in facts.manifest.services.values():
            if f":{service.port}->" in ports:
                yield ok(f"the container {name} publishes port {service.port} of {service.name}", service=service.name)


CHECKS = (
    Check(id="hosts", title="localhost is correct in /etc/hosts", group=_GROUP, run=hosts),
    Check(id="dns", title="host names resolve", group=_GROUP, run=dns, follows=("hosts",)),
    Check(id="net.proxy", title="no proxy intercepts local requests", group=_GROUP, run=proxy),
    Check(id="net.firewall", title="no packet filter blocks the services", group=_GROUP, run=firewall),
    Check(id="net.docker", title="containers and their ports", group=_GROUP, run=docker),
)
