"""What each Redis whose address is known says about itself: memory, role, persistence, clients, and its password."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import msgspec

from toombos_cli.base.addresses import is_loopback
from toombos_cli.diagnose.facts.configuration import SETTINGS
from toombos_cli.diagnose.facts.source import Fact, Facts, FactUnavailableError
from toombos_cli.diagnose.known.recognition import names_of, service_at
from toombos_cli.manifest.tables.service import Service
from toombos_cli.settings.databases import Server

_TIMEOUT_S = 1.0
_MOST_BYTES = 256 * 1024
_PROGRAMS = {"redis-server", "valkey-server", "keydb-server"}
_SCHEMES = ("redis://", "valkey://")
_KEPT = (
    *("role", "master_host", "master_port", "master_link_status", "loading", "used_memory", "maxmemory"),
    *("maxmemory_policy", "rdb_last_bgsave_status", "aof_last_write_status", "connected_clients", "maxclients"),
)


class RedisFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One Redis. `service` is the one of the manifest that it is, or "". `refusal` is its answer if it gave no report.

    `is_meant_as_replica` says whether its command or configuration file makes it one. `variable` names the setting with
    the password that was used, "" if there was none.
    """

    service: str
    host: str
    port: int
    refusal: str = ""
    variable: str = ""
    is_meant_as_replica: bool = False
    info: dict[str, str] = {}

    def number(self, name: str) -> int:
        """Return a number of the report, 0 if it has none of that name."""
        text = self.info.get(name, "")
        return int(text) if text.isdecimal() else 0


class _Address(msgspec.Struct, frozen=True, kw_only=True):
    host: str
    port: int
    service: str = ""
    user: str = ""
    password: str = ""
    variable: str = ""


def _gather(facts: Facts) -> tuple[RedisFacts, ...]:
    addresses: dict[tuple[str, int], _Address] = {}
    for one in (*_in_urls(facts), *_of_services(facts)):  # a URL has the password
        addresses.setdefault((one.service or one.host, one.port), one)
    found: dict[int, RedisFacts] = {}

    def ask(number: int, address: _Address) -> None:
        service = facts.manifest.services.get(address.service)
        try:
            answer = _asked(address)
        except OSError:  # that nothing answers there is reported by the checks of the network
            return
        found[number] = RedisFacts(
            service=address.service,
            host=address.host,
            port=address.port,
            refusal=answer if answer.startswith("-") else "",
            variable=address.variable,
            is_meant_as_replica=service is not None and _is_meant_as_replica(service),
            info=dict(re.findall(rf"(?m)^({'|'.join(_KEPT)}):([^\r\n]*)", answer)),
        )

    threads = [Thread(target=ask, args=one, daemon=True) for one in enumerate(addresses.values())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * _TIMEOUT_S)
    return tuple(found[number] for number in sorted(found))


def _of_services(facts: Facts) -> Iterator[_Address]:
    for service in facts.manifest.services.values():
        if service.port and names_of([service.command]) & _PROGRAMS:
            words = dict(zip(service.command, service.command[1:], strict=False))
            password = words.get("--requirepass", "")
            host = service.host if is_loopback(service.host) else "127.0.0.1"
            yield _Address(host=host, port=service.port, service=service.name, password=password)


def _in_urls(facts: Facts) -> Iterator[_Address]:
    """Yield the addresses in the settings of services, if they are on this machine: a password does not leave it."""
    try:
        settings = facts.get(SETTINGS)
    except FactUnavailableError:
        return
    services = facts.manifest.services
    for name in services:
        for variable, value in settings.service_clear(name).values.items():
            server = Server.parse(value) if value.startswith(_SCHEMES) else None
            if server and server.port and is_loopback(server.named_host):
                yield _Address(
                    host=server.named_host,
                    port=server.port,
                    service=service_at(f"{server.named_host}:{server.port}", services.values()),
                    user=server.user,
                    password=server.password,
                    variable=variable if server.password else "",
                )


def _asked(address: _Address) -> str:
    """Return the report of a Redis, or its refusal, which begins with `-`. Raise OSError."""
    with socket.create_connection((address.host, address.port), _TIMEOUT_S) as connection:
        connection.settimeout(_TIMEOUT_S)
        if address.password:
            connection.sendall(_command("AUTH", *([address.user] if address.user else []), address.password))
            refusal = connection.recv(4096).decode("utf-8", "replace")
            if not refusal.startswith("+"):
                return refusal.split("\r\n")[0]
        connection.sendall(_command("INFO"))
        return _bulk(connection)


def _bulk(connection: socket.socket) -> str:
    received = b""
    while len(received) < _MOST_BYTES:
        head, found, body = received.partition(b"\r\n")
        if found and not head.startswith(b"$"):
            return head.decode("utf-8", "replace")
        if found and len(body) >= int(head[1:]):
            return body.decode("utf-8", "replace")
        more = connection.recv(65536)
        if not more:
            break
        received += more
    return received.decode("utf-8", "replace")


def _command(*words: str) -> bytes:
    parts = (word.encode() for word in words)
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def _is_meant_as_replica(service: Service) -> bool:
    if {"--replicaof", "--slaveof"} & set(service.command):
        return True
    paths = (Path(service.cwd, word) for word in service.command if word.endswith(".conf"))
    return any(re.search(r"(?mi)^\s*(replicaof|slaveof)\s", _text(path)) for path in paths)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace") if path.stat().st_size < _MOST_BYTES else ""
    except OSError:
        return ""


REDIS: Fact[tuple[RedisFacts, ...]] = Fact("redis", tuple[RedisFacts, ...], _gather)
