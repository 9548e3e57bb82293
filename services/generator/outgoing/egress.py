"""The egress guard: in dry-run mode no request leaves for a host that is neither loopback nor an allow-listed mock.

The guard is the transport of the generator's only HTTP client, so redirects pass through it too. It resolves a name
itself, checks every address, and connects to a checked address: a name that resolves differently the second time
gains nothing.
"""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable

import httpx

from services.common.loopback import is_loopback

logger = logging.getLogger("generator.egress")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[tuple[Address, ...]]]


class EgressRefusedError(Exception):
    """The request was refused before a packet was sent."""


async def resolve(host: str, port: int) -> tuple[Address, ...]:
    """Return every address of `host`, in the resolver's order. Raise httpx.ConnectError if there is none."""
    try:
        return (ipaddress.ip_address(host),)
    except ValueError:
        pass
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"cannot resolve {host}: {error}") from error
    return tuple(dict.fromkeys(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


class EgressGuard(httpx.AsyncBaseTransport):
    """A transport that permits requests to loopback, and to `allowed_hosts` that resolve to private addresses only."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        *,
        allowed_hosts: frozenset[str],
        count_refusal: Callable[[], None],
        resolve: Resolve = resolve,
    ) -> None:
        self._transport = transport
        self._allowed_hosts = allowed_hosts
        self._count_refusal = count_refusal
        self._resolve = resolve

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host.rstrip(".").lower()
        if not self._may_resolve(host):
            raise self._refusal(host, "not loopback and not allow-listed")
        addresses = await self._resolve(host, request.url.port or (443 if request.url.scheme == "https" else 80))
        for address in addresses:
            if not self._permitted(host, address):
                raise self._refusal(host, f"it resolves to {address}")
        return await self._transport.handle_async_request(_pinned(request, host, addresses[0]))

    async def aclose(self) -> None:
        await self._transport.aclose()

    def _may_resolve(self, host: str) -> bool:
        """Report whether `host` may be looked up: even the DNS query for another name would leave the machine."""
        return host in self._allowed_hosts or is_loopback(host)

    def _permitted(self, host: str, address: Address) -> bool:
        if is_loopback(str(address)):
            return True
        local = address.is_private and not (address.is_link_local or address.is_unspecified or address.is_reserved)
        return host in self._allowed_hosts and local

    def _refusal(self, host: str, reason: str) -> EgressRefusedError:
        self._count_refusal()
        logger.warning("egress refused in dry-run mode: %s (%s)", host, reason, extra={"host": host})
        return EgressRefusedError(f"dry-run mode refuses requests to {host}: {reason}")


def _pinned(request: httpx.Request, host: str, address: Address) -> httpx.Request:
    """Return the same request with `address` as its destination; the Host header and the TLS name are unchanged."""
    if request.url.host == str(address):
        return request
    return httpx.Request(
        request.method,
        request.url.copy_with(host=str(address)),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": host},
    )
