"""Rules about the ports of services, of their callers, and of Prometheus."""

from collections.abc import Iterator
from itertools import combinations

from toombos_cli.base.addresses import is_loopback, url_address
from toombos_cli.base.findings import Evidence, Finding, fail, ok, skip, warn
from toombos_cli.base.fixes import advice, toombos
from toombos_cli.processes import conflicts
from toombos_cli.settings.facts import SettingsFacts
from toombos_cli.settings.rules.env_edits import in_manifest, place_of, unset
from toombos_cli.settings.types import type_error
from toombos_cli.settings.values import Origin


def port_clash(facts: SettingsFacts) -> Iterator[Finding]:
    """Two programs that are configured with the same port."""
    services = tuple(service for service in facts.manifest.services.values() if service.port)
    for one, other in combinations(services, 2):
        if one.port == other.port and conflicts(one.host, other.host):
            yield fail(
                f"{one.name} and {other.name} both listen on port {one.port}",
                in_manifest(facts, f"[services.{other.name}] port"),
                cause="the second to start fails",
                fix=advice(f"give {other.name} another port"),
            )
    for database in facts.databases:
        server = database.server
        for service in services if server and not server.host.startswith("/") else ():  # no Unix socket
            if service.scheme == "tcp":  # it may be the database itself
                continue
            if server and server.port == service.port and conflicts(service.host, server.host):
                yield fail(
                    f"{database.name} uses port {server.port}, which is the port of {service.name}",
                    place_of(facts, database.value),
                    fix=advice(f"correct the port in {database.name}, or give {service.name} another port"),
                )
    urls = [(name, _address(facts, name)) for name in facts.with_role("mock_url", "live_url")]
    for (name, address), (other_name, other_address) in combinations(urls, 2):
        if address[1] is not None and address == other_address and is_loopback(address[0]):
            yield fail(
                f"{name} and {other_name} are the same address, port {address[1]}",
                *(place_of(facts, facts.values[n]) for n in (name, other_name) if n in facts.values),
                cause="one program would get the requests for the other",
                fix=advice("correct one of them"),
            )


def client_urls(facts: SettingsFacts) -> Iterator[Finding]:
    """Callers of a service must use the address on which the manifest starts it."""
    for name, variable in facts.with_role("mock_url").items():
        target = facts.manifest.services.get(variable.service)
        if target is None:
            continue
        for user in variable.used_by:
            value = facts.service_values(user).get(name)
            if user not in facts.manifest.services or value is None or type_error(variable, value.value):
                continue
            host, port = url_address(value.value)
            if port == target.port and (conflicts(target.host, host) or not is_loopback(host)):
                yield ok(f"{user} calls {target.name} at {target.url}")
                continue
            removal = unset(facts, name) if value.origin in (Origin.ENV_FILE, Origin.ENVIRONMENT) else None
            yield fail(
                f"{name} is {host}:{port}, but {target.name} listens on {target.host}:{target.port}",
                place_of(facts, value),
                cause=f"{user} cannot reach {target.name}; without {name} it uses the manifest's address",
                fix=removal or advice(f"set {name}={target.url}"),
            )


def ports(facts: SettingsFacts) -> Iterator[Finding]:
    """Ports that cannot be opened, and port variables that have no effect."""
    for service in facts.manifest.services.values():
        if 0 < service.port < 1024 and facts.user != 0:
            yield fail(
                f"{service.name} is configured to listen on port {service.port}, which only root may open",
                in_manifest(facts, f"[services.{service.name}] port"),
                fix=advice("choose port 1024 or higher"),
            )
    for name in facts.with_role("bind_host", "bind_port"):
        value = facts.values.get(name)
        setters = [s.name for s in facts.manifest.services.values() if name in s.env]
        if value and setters and value.origin in (Origin.ENV_FILE, Origin.ENVIRONMENT):
            yield warn(
                f"{name} has no effect on {', '.join(setters)}: toombos sets it from the manifest",
                place_of(facts, value),
                fix=unset(facts, name) or advice("set port or host in [services.NAME] of toombos.toml"),
            )


def prometheus(facts: SettingsFacts) -> Iterator[Finding]:
    """The scrape configuration must list the port of every service that has metrics."""
    found = facts.prometheus
    if found is None or not found.exists:
        yield skip("there is no Prometheus configuration" if found is None else f"{found.path} is not written yet")
        return
    if found.problem:
        yield fail(
            f"the Prometheus configuration {found.problem}",
            Evidence(source=str(found.path), line=found.problem_line),
            fix=toombos(facts.manifest.project, "monitoring", "restart"),
        )
        return
    scraped = {port for host, port in found.targets}
    for service in facts.manifest.services.values():
        if service.metrics and not service.optional and service.port not in scraped:
            yield warn(
                f"Prometheus does not scrape {service.name} on port {service.port}",
                Evidence(source=str(found.path), text=f"no target with port {service.port}"),
                cause="its panels show no data",
                fix=toombos(facts.manifest.project, "monitoring", "restart"),
            )


def _address(facts: SettingsFacts, name: str) -> tuple[str, int | None]:
    value = facts.clear.get(name, "")
    return url_address(value) if value and not type_error(facts.variables[name], value) else ("", None)
