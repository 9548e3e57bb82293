"""The generator's only HTTP client; a test checks that no other module creates one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from services.generator.outgoing.egress import EgressGuard

USER_AGENT = "toombos-generator"


@asynccontextmanager
async def whole_exchange(client: httpx.AsyncClient) -> AsyncIterator[None]:
    """Limit the whole block to the client's timeout. Raise httpx.ReadTimeout.

    httpx only limits each read, so a server that sends a byte now and then would keep it reading for ever.
    """
    try:
        async with asyncio.timeout(client.timeout.read):
            yield
    except TimeoutError:
        raise httpx.ReadTimeout(f"the response was not complete after {client.timeout.read:g} s") from None


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
    """Return a client with pooled connections that ignores proxy variables and does not follow redirects.

    `guarded` (dry-run mode) puts the egress guard between it and the network.
    """
    # The other side may close a connection that was idle for longer just as it is reused.
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
