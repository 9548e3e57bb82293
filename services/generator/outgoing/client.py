"""The generator's only HTTP client; a test holds that no other module makes one."""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import certifi
import httpx

from services.generator.outgoing.egress import EgressGuard

if find_spec("sniffio") is None:
    # httpcore tries to import it at each of its many locks; searching the disk for it took a tenth of a publication.
    sys.modules["sniffio"] = None  # type: ignore[assignment]  # Python's way of saying: not to be found

USER_AGENT = "toombos-generator"


@asynccontextmanager
async def whole_exchange(client: httpx.AsyncClient) -> AsyncIterator[None]:
    """Bounds all that is done within by the client's timeout. Raises httpx.ReadTimeout.

    httpx bounds each single read: a server that sends a byte now and then would be listened to for ever.
    """
    try:
        async with asyncio.timeout(client.timeout.read):
            yield
    except TimeoutError:
        raise httpx.ReadTimeout(f"the answer was not complete after {client.timeout.read:g} s") from None


class _BoundedAsyncClient(httpx.AsyncClient):
    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        async with whole_exchange(self):
            return await super().send(request, **options)


class LateTrustTransport(httpx.AsyncHTTPTransport):
    """Trusts the usual authorities, which it loads before its first TLS request: no start waits 30 ms for them.

    Until then it trusts nobody.
    """

    def __init__(self, limits: httpx.Limits) -> None:
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        super().__init__(verify=self.tls, trust_env=False, limits=limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.scheme == "https" and not self.tls.cert_store_stats()["x509_ca"]:
            self.tls.load_verify_locations(certifi.where())
        return await super().handle_async_request(request)


def build_client(
    *,
    guarded: bool,
    allowed_hosts: frozenset[str],
    max_connections: int,
    timeout_s: float,
    count_refusal: Callable[[], None],
) -> httpx.AsyncClient:
    """A client with pooled connections that ignores proxy variables and follows no redirect by itself.

    `guarded` (dry-run mode) puts the egress guard between it and the network.
    """
    transport: httpx.AsyncBaseTransport = LateTrustTransport(
        # Connections idle for longer may be closed by the other side just as they are used again.
        httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections, keepalive_expiry=5.0)
    )
    if guarded:
        transport = EgressGuard(transport, allowed_hosts=allowed_hosts, count_refusal=count_refusal)
    return _BoundedAsyncClient(
        transport=transport,
        trust_env=False,
        timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, 5.0)),
        follow_redirects=False,
        headers={"User-Agent": USER_AGENT},
    )
