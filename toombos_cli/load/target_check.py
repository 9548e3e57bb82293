"""Who may be put under load: a target is resolved once, every address is judged, and one address is kept for good."""

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
    """All addresses of a name, in the system's order. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(info[4][0]) for info in found))


def split_url(url: str) -> tuple[Literal["http", "https"], str, int, str]:
    """(scheme, host, port, path with query) of an absolute URL. Raises UsageError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"not a URL: {error}", where=url) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            "a target is an http:// or https:// URL, or a path of the default service",
            where=url,
            hint=None if "://" in url else f"http://{url}",
        )
    if parts.username or parts.password:
        raise UsageError(
            "credentials in a URL are not sent",
            where=f"{parts.scheme}://{parts.hostname}",
            hint="-H 'Authorization: ...'",
        )
    if re.search(r"[\x00-\x20\x7f]", url):
        raise UsageError("a URL has no blanks and no control characters", where=printable(url))
    scheme = cast('Literal["http", "https"]', parts.scheme)
    return scheme, parts.hostname, port or (443 if scheme == "https" else 80), request_target(parts)


def choose_target(
    url: str, *, allowed: tuple[str, ...] = (), verify_tls: bool = True, resolve: Resolve = resolve
) -> tuple[LoadTarget, tuple[str, ...]]:
    """The target with its first address, and all of its addresses. Sends nothing to it.

    `allowed`: host names and addresses that may be loaded though they are not loopback. Raises RefusedError when any
    address is neither, OperationError when the name does not resolve, UsageError for what is no URL.
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
                    hint=f"if it is yours to load: --allow-target {host}",
                )
    target = LoadTarget(url=url, scheme=scheme, host=host, port=port, address=addresses[0], verify_tls=verify_tls)
    return target, addresses


def connect_once(target: LoadTarget, addresses: tuple[str, ...], *, timeout_s: float, hint: str) -> LoadTarget:
    """The target with the first address that takes a connection. Raises OperationError with `hint` when none does."""
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
