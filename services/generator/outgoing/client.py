"""The generator's only HTTP client; a test checks that no other module creates one.

Every response is read here, within limits on its size, its decompressed size and its total time: a server that sends
without end costs a few megabytes and an error, whatever the request was for. The head is limited by h11, to 100 KiB.
"""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import h11
import httpx

from services.generator.outgoing.egress import EgressGuard

USER_AGENT = "toombos-generator"
MAX_RESPONSE_BYTES = 1024 * 1024
"""The largest body that a request accepts unless it names another limit with `body_limit`."""

_MAX_JSON_PARTS = 500_000
_MAX_PIECES = 10_000
_PIECES_A_TURN = 100
_LIMIT_KEY = "toombos.max_body_bytes"
_COMPRESSED = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_OF_THE_WIRE = frozenset({"content-encoding", "content-length", "transfer-encoding"})
"""Headers that describe the body as it was sent."""


class UnusableResponseError(httpx.HTTPError):
    """The response exceeds a limit or has a content encoding that nobody asked for: a repetition would not help."""


def body_limit(max_bytes: int) -> dict[str, Any]:
    """Return the `extensions=` of a request whose response may have this size after decompression."""
    return {_LIMIT_KEY: max_bytes}


@asynccontextmanager
async def whole_exchange(client: httpx.AsyncClient, timeout_s: float | None = None) -> AsyncIterator[None]:
    """Limit the whole block to the timeout, by default the client's. Raise httpx.ReadTimeout.

    httpx only limits each read, so a server that sends a byte now and then would keep it reading for ever.
    """
    timeout_s = timeout_s or client.timeout.read
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise httpx.ReadTimeout(f"the response was not complete after {timeout_s:g} s") from None


class _BoundedAsyncClient(httpx.AsyncClient):
    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Return the response with its whole body. Raise UnusableResponseError if it exceeds a limit."""
        async with whole_exchange(self, request.extensions["timeout"]["read"]):
            try:
                response = await super().send(request, **options | {"stream": True})
                try:
                    body = await _read_body(response, request.extensions.get(_LIMIT_KEY, MAX_RESPONSE_BYTES))
                finally:
                    await response.aclose()
            except httpx.RemoteProtocolError as error:
                if _is_about_size(error):
                    raise UnusableResponseError("the response's headers or trailers are larger than 100 KiB") from error
                raise
        kept = [(name, value) for name, value in response.headers.multi_items() if name not in _OF_THE_WIRE]
        whole = httpx.Response(response.status_code, headers=kept, content=body, request=request)
        whole.next_request = response.next_request
        return whole


def _is_about_size(error: BaseException | None) -> bool:
    """Report whether h11, which is below httpx, raised this because a part between bodies did not end."""
    while error is not None:
        if isinstance(error, h11.RemoteProtocolError):
            return error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        error = error.__cause__ or error.__context__
    return False


async def _read_body(response: httpx.Response, max_bytes: int) -> bytes:
    """Return the decompressed body. httpx would decompress each chunk completely, to a thousand times its size."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in _COMPRESSED | {"identity", ""}:
        raise UnusableResponseError(f"the response has the content encoding {encoding[:40]!r}, which was not asked for")
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB) if encoding in _COMPRESSED else None
    body = bytearray()
    received_bytes = pieces = 0
    async for chunk in response.aiter_raw():
        received_bytes += len(chunk)
        pieces += 1
        if pieces > _MAX_PIECES:
            raise UnusableResponseError(f"the response comes in more than {_MAX_PIECES} pieces")
        if pieces % _PIECES_A_TURN == 0:
            await asyncio.sleep(0)  # pieces that have arrived are read without a pause: let other requests run
        try:
            body += inflater.decompress(chunk, max_bytes + 1 - len(body)) if inflater else chunk
        except zlib.error as error:
            raise httpx.DecodingError(f"the response cannot be decompressed: {error}") from error
        if max(len(body), received_bytes) > max_bytes:
            raise UnusableResponseError(f"the response is larger than {max_bytes} bytes")
    if inflater and received_bytes and not inflater.eof:
        raise httpx.DecodingError("the compressed response is incomplete")
    return bytes(body)


def json_body(response: httpx.Response) -> Any:
    """Return the response's JSON. Raise ValueError for anything else, and for JSON of very many parts.

    Half a million of `[],` are 1.5 MB, but 50 MB when parsed.
    """
    body = response.content
    if sum(body.count(mark) for mark in (b"[", b"{", b",")) > _MAX_JSON_PARTS:
        raise ValueError(f"more than {_MAX_JSON_PARTS} parts")
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


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
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"},
    )
