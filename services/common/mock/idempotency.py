"""One response for each Idempotency-Key, also for duplicates that arrive while the first request is still running.

A key belongs to its first request: another request with it is refused, as in the IETF's draft of the header.

Only successes (2xx) are kept. A failed request did nothing, so its repetition is a new attempt.
"""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import Response

from services.common.mock.records import Records

KEY_MAX_CHARS = 255
_Key = tuple[str, str]
"""The route's path and the client's key."""


class KeyReusedError(Exception):
    """The Idempotency-Key belongs to another request."""


class Answers:
    """The newest 10,000 responses by route and key; an older key counts as new."""

    def __init__(self) -> None:
        self._kept: Records[_Key, tuple[bytes, int, bytes]] = Records(max_records=10_000, max_bytes=8 * 1024 * 1024)
        self._running: dict[_Key, asyncio.Event] = {}

    async def once(self, key: _Key, digest: bytes, answer: Callable[[], Awaitable[Response]]) -> Response:
        """Return the kept response (marked `Idempotent-Replayed: true`), else the one that `answer` gives now.

        `digest` identifies the request. Raise KeyReusedError if the kept response is that of another request.
        """
        while (running := self._running.get(key)) is not None:
            await running.wait()
        kept = self._kept.get(key)
        if kept is not None:
            kept_digest, status, body = kept
            if kept_digest != digest:
                raise KeyReusedError
            return Response(body, status, {"Idempotent-Replayed": "true"}, media_type="application/json")
        done = self._running[key] = asyncio.Event()
        try:
            response = await answer()
            if response.status_code < 300:
                body = bytes(response.body)
                size_bytes = len(body) + len(digest) + sum(map(len, key))
                self._kept.put(key, (digest, response.status_code, body), size_bytes=size_bytes)
            return response
        finally:
            del self._running[key]
            done.set()

    def clear(self) -> None:
        self._kept.clear()
