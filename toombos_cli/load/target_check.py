"""Which targets may be loaded: a target is resolved once, every address is checked, and one address is kept."""

import re
import socket
from collections.abc import Callable, Iterable
from typing import Literal, cast
from urllib.parse import urlsplit

from toombos_cli.base.addresses import is_loopback, request_target
from toombos_cli.base.errors import OperationError, RefusedError, UsageError
from toombos_cli.base.text import printable
from toombos_cli.load.plan import LoadTarget

Resolve = Callable[[str, int], Iterable[str]]


def resolve(host: str, port: int) -> tuple[str, ...]:
    """Return all addresses of a name, in the system's order. Raise OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(info[4][0]) for info in found))


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
            hint=None if "://" in url else f"try http://{url}",
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
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OperationError(f"{host} does not resolve: {reason}", where=url, hint="check the host name") from None
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
    """Return the target with the first address that accepts a connection. Raise OperationError if none does."""
    from dataclasses import replace

    problems = []
    for address in addresses:
        try:
            socket.create_connection((address, target.port), timeout=min(timeout_s, 5.0)).close()
        except OSError as error:
            problems.append(f"{address}: {(error.strerror or str(error) or type(error).__name__).lower()}")
        else:
            return replace(target, address=address)
    raise OperationError(
        f"no connection to port {target.port}: {'; '.join(problems)}",
        where=target.url,
        hint=hint,
    )
