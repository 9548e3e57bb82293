"""Host names, addresses, proxies, packet filters and containers between the services."""

import os
import socket
import subprocess
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import msgspec

from toombos_cli.base.errors import OperationError
from toombos_cli.base.programs import find_program
from toombos_cli.diagnose.facts.configuration import SETTINGS
from toombos_cli.diagnose.facts.source import Fact, Facts
from toombos_cli.probes import Reason
from toombos_cli.probes.tcp import probe_tcp

_TCP_TIMEOUT_S = 1.0
_LOOKUPS = 3
_THIS_MACHINE = ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::")  # noqa: S104  (compared with, not bound)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class Lookup(msgspec.Struct, frozen=True, kw_only=True):
    """Several lookups of a host name in use: the result of each, "" if it failed, and the last failure's `problem`."""

    host: str
    used_by: str
    answers: tuple[str, ...] = ()
    problem: str = ""


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """The result of connecting to a service's port at one address."""

    service: str
    address: str
    reason: str


class NetworkFacts(msgspec.Struct, frozen=True, kw_only=True):
    """`hosts_localhost` are localhost's addresses in /etc/hosts, `firewall` the rules that drop or reject packets.

    `proxies` are the names of the set proxy variables. `firewall_skipped` says why the filters could not be listed.
    """

    lookups: tuple[Lookup, ...] = ()
    reached: tuple[Reached, ...] = ()
    hosts_localhost: tuple[str, ...] = ()
    hosts_problem: str = ""
    hosts_lines: tuple[tuple[int, str], ...] = ()
    proxies: tuple[str, ...] = ()
    no_proxy: str = ""
    firewall: tuple[str, ...] = ()
    firewall_skipped: str = ""
    in_container: bool = False
    docker: str = ""


def _gather(facts: Facts) -> NetworkFacts:
    hosts = _hosts_in_use(facts)
    lookups: dict[str, Lookup] = {}
    reached: dict[tuple[str, str], Reached] = {}

    def look_up(host: str, used_by: str) -> None:
        lookups[host] = _look_up(host, used_by)

    def reach(service: str, address: str, port: int) -> None:
        try:
            reason = probe_tcp(address, port, timeout_s=_TCP_TIMEOUT_S).reason
        except OperationError:  # this machine has no such address, or no socket left
            reason = Reason.ERROR
        reached[service, address] = Reached(service=service, address=address, reason=reason.value)

    jobs = [Thread(target=look_up, args=(host, used), daemon=True) for host, used in hosts.items()]
    for service in (s for s in facts.manifest.services.values() if s.port):
        addresses = {"127.0.0.1", "::1"} if service.host in _THIS_MACHINE else {service.host}
        jobs += [Thread(target=reach, args=(service.name, a, service.port), daemon=True) for a in sorted(addresses)]
    for job in jobs:
        job.start()
    firewall, skipped = _firewall()
    for job in jobs:
        job.join(2.0)
    missing = {
        host: Lookup(host=host, used_by=used, problem="the lookup did not end within 2 s")
        for host, used in hosts.items()
    }
    found, problem, lines = _hosts_file(set(hosts))
    environ = {name.upper(): value for name, value in os.environ.items()}
    return NetworkFacts(
        lookups=tuple(dict(lookups).get(host, missing[host]) for host in hosts),
        reached=tuple(reached[key] for key in sorted(reached)),
        hosts_localhost=found,
        hosts_problem=problem,
        hosts_lines=lines,
        proxies=tuple(name for name in _PROXIES if environ.get(name)),
        no_proxy=environ.get("NO_PROXY", ""),
        firewall=firewall,
        firewall_skipped=skipped,
        in_container=Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
        docker=_docker(),
    )


def _hosts_in_use(facts: Facts) -> dict[str, str]:
    """Return the host names of services and of their URLs, each with the user of the name; always with localhost."""
    hosts = {"localhost": "everything"}
    for service in facts.manifest.services.values():
        if not _is_address(service.host):
            hosts.setdefault(service.host, service.name)
    settings = facts.get(SETTINGS)
    names = settings.with_role("mock_url") | (settings.with_role("live_url") if settings.is_live else {})
    for name in names:
        try:
            host = urlsplit(settings.clear.get(name, "")).hostname
        except ValueError:
            continue
        if host and not _is_address(host):
            hosts.setdefault(host, name)
    return hosts


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False


def _look_up(host: str, used_by: str) -> Lookup:
    answers, problem = [], ""
    for _ in range(_LOOKUPS):
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            answers.append(",".join(sorted({str(address[0]) for *_, address in found})))
        except (OSError, UnicodeError) as error:
            problem = str(getattr(error, "strerror", None) or "not a valid host name")
            answers.append("")
    return Lookup(host=host, used_by=used_by, answers=tuple(answers), problem=problem)


def _hosts_file(names: set[str]) -> tuple[tuple[str, ...], str, tuple[tuple[int, str], ...]]:
    """Return localhost's addresses in /etc/hosts, why it cannot be read, and its lines about the names in use."""
    try:
        lines = Path("/etc/hosts").read_text("utf-8", "replace").splitlines()
    except OSError as error:
        return (), f"/etc/hosts cannot be read: {error.strerror}", ()
    addresses, relevant = [], []
    for number, line in enumerate(lines, start=1):
        address, *hosts = line.partition("#")[0].split() or [""]
        if "localhost" in hosts:
            addresses.append(address)
        if names & set(hosts):
            relevant.append((number, " ".join((address, *hosts))))
    return tuple(addresses), "", tuple(relevant)


def _firewall() -> tuple[tuple[str, ...], str]:
    """Return the rules that drop or reject packets, or why they were not listed (needs root, and nft or iptables)."""
    if os.geteuid() != 0:
        return (), "only root may list packet filters"
    for argv in (("nft", "list", "ruleset"), ("iptables", "-S")):
        program = find_program(argv[0])
        if program is None:
            continue
        try:
            done = subprocess.run([program, *argv[1:]], capture_output=True, text=True, timeout=1.5, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            lines = [line.strip() for line in done.stdout.splitlines()]
            return tuple(line for line in lines if "drop" in line.lower() or "reject" in line.lower())[:50], ""
    return (), "neither nft nor iptables can be run here"


def _docker() -> str:
    """Return the containers and published ports that `docker ps` lists; "" if docker does not work here."""
    program = find_program("docker")
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, "ps", "--format", "{{.Names}} {{.Ports}}"],
            capture_output=True,
            text=True,
            timeout=1.5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout[:4000] if done.returncode == 0 else ""


NETWORK: Fact[NetworkFacts] = Fact("network", NetworkFacts, _gather)
