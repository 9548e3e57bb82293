"""Which targets may be loaded: a target is resolved once, every address is checked, and one address is kept."""

import re
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Literal, cast
from urllib.parse import urlsplit

from toombos_cli.base.addresses import is_loopback, request_target
from toombos_cli.base.errors import OperationError, RefusedError, UsageError
from toombos_cli.base.text import printable
from toombos_cli.load.engine.failures import FAULT_OF, Fault, classify
from toombos_cli.load.plan import LoadTarget
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes.connection import Deadline, ProbeError, addresses_of

_LOOKUP_S = 10.0
_PLACE = re.compile(r"(?P<host>[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.%]+\])(?::(?P<port>\d{1,5}))?(?:[/?].*)?")
Resolve = Callable[[str, int], Iterable[str]]


def resolve(host: str, port: int) -> tuple[str, ...]:
    """Return all addresses of a name, as probes find them. Raise ProbeError."""
    return tuple(dict.fromkeys(str(address[0]) for _, address in addresses_of(host, port, Deadline(_LOOKUP_S))))


def full_url(text: str, services: Mapping[str, Service]) -> str:
    """Return the URL that a target on the command line stands for; what is none of these is returned unchanged.

    `:8000/path` and `localhost:8000/path` are ports of this machine, in the scheme of the service that has the port;
    `crm` and `crm/path` are a service of the project; `example.test:8000/path` is a host.
    """
    name, slash, path = text.partition("/")
    if (service := services.get(name)) and service.port:
        return service.url + slash + path
    place = _PLACE.fullmatch(text)
    if place is None or not (place["port"] or place["host"] == "localhost" or "." in place["host"]):
        return text
    host = place["host"] or "localhost"
    scheme = "http"
    if place["port"] and is_loopback(host.strip("[]")):
        port = int(place["port"])
        scheme = next((s.scheme for s in services.values() if s.port == port and s.scheme == "https"), "http")
    return f"{scheme}://{host}{text[place.end('host') :]}"


def split_url(url: str) -> tuple[Literal["http", "https"], str, int, str]:
    """Return (scheme, host, port, path with query) of an absolute URL. Raise UsageError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"not a URL: {error}", where=url) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            "not an http:// or https:// URL, nor a path of the default service",
            where=url,
            hint=None if "://" in url else "write http://HOST:PORT/PATH, :PORT/PATH, or SERVICE/PATH",
        )
    if parts.username or parts.password:
        raise UsageError(
            "credentials in a URL are not sent",
            where=f"{parts.scheme}://{parts.hostname}",
            hint="use -H 'Authorization: ...'",
        )
    if re.search(r"[\x00-\x20\x7f]", url):
        raise UsageError("a URL cannot contain blanks or control characters", where=printable(url))
    scheme = cast('Literal["http", "https"]', parts.scheme)
    return scheme, parts.hostname, port or (443 if scheme == "https" else 80), request_target(parts)


def choose_target(
    url: str, *, allowed: tuple[str, ...] = (), verify_tls: bool = True, resolve: Resolve = resolve
) -> tuple[LoadTarget, tuple[str, ...]]:
    """Return the target with its first address, and all of its addresses. Send nothing to it.

    `allowed`: host names and addresses that may be loaded although they are not loopback. Raise RefusedError if any
    address is neither, OperationError if the name does not resolve, UsageError if `url` is not a URL.
    """
    scheme, host, port, _ = split_url(url)
    try:
        addresses = tuple(resolve(host, port))
    except ProbeError as error:
        raise OperationError(error.detail, where=url, hint="check the host name") from None
    if host not in allowed:
        for address in addresses:
            if not is_loopback(address) and address not in allowed:
                name = host if host == address else f"{host} ({address})"
                raise RefusedError(
                    f"{name} is not this machine: nothing was sent",
                    where=url,
                    hint=f"if you may load this host: --allow-target {host}",
                )
    target = LoadTarget(url=url, scheme=scheme, host=host, port=port, address=addresses[0], verify_tls=verify_tls)
    return target, addresses


def connect_once(target: LoadTarget, addresses: tuple[str, ...], *, timeout_s: float, hint: str) -> LoadTarget:
    """Return the target with the first address that accepts a connection. Raise OperationError if none does.

    As in probes, certificates are not verified on the loopback: the owner of the socket proves who responds.
    """
    problems: dict[str, OSError] = {}
    for address in addresses:
        try:
            socket.create_connection((address, target.port), timeout=min(timeout_s, 5.0)).close()
        except OSError as error:
            problems[address] = error
        else:
            return replace(target, address=address, verify_tls=target.verify_tls and not is_loopback(address))
    if all(FAULT_OF[classify(error, "connect").error_class] is Fault.MACHINE for error in problems.values()):
        hint = (
            "it is this machine that cannot: free its local ports (net.ipv4.ip_local_port_range) or files (ulimit -n)"
        )
    texts = (f"{a}: {(e.strerror or str(e) or type(e).__name__).lower()}" for a, e in problems.items())
    raise OperationError(f"no connection to port {target.port}: {'; '.join(texts)}", where=target.url, hint=hint)
