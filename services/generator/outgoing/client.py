"""The generator's only HTTP client; a test holds that no other module makes one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from services.generator.outgoing.egress import EgressGuard

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
    # Connections idle for longer may be closed by the other side just as they are used again.
    limits = httpx.Limits(
        max_connections=max_connections, max_keepalive_connections=max_connections, keepalive_expiry=5.0
    )
    transport: httpx.AsyncBaseTransport = httpx.AsyncHTTPTransport(trust_env=False, limits=limits)
    if guarded:
        transport = EgressGuard(transport, allowed_hosts=allowed_hosts, count_refusal=count_refusal)
    return _BoundedAsyncClient(
        transport=transport,
        trust_env=False,
        timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, 5.0)),
        follow_redirects=False,
        headers={"User-Agent": USER_AGENT},
    )
