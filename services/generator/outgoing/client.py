"""The generator's only HTTP client; a test holds that no other module makes one."""

from collections.abc import Callable

import httpx

from services.generator.outgoing.egress import EgressGuard

USER_AGENT = "toombos-generator"


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
    transport: httpx.AsyncBaseTransport = httpx.AsyncHTTPTransport(
        trust_env=False,
        # Connections idle for longer may be closed by the other side just as they are used again.
        limits=httpx.Limits(
            max_connections=max_connections, max_keepalive_connections=max_connections, keepalive_expiry=5.0
        ),
    )
    if guarded:
        transport = EgressGuard(transport, allowed_hosts=allowed_hosts, count_refusal=count_refusal)
    return httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, 5.0)),
        follow_redirects=False,
        headers={"User-Agent": USER_AGENT},
    )
