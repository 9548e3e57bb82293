"""The HTTP protocol of every service: uvicorn's on httptools, with the limits that it does not have.

A connection costs memory and a file descriptor until it is closed, and httptools collects a header that does not end
in quadratic time. So the head's size, the time for a request to arrive, the time for a response to be read, and the
number of connections are limited here.
"""

import json
import logging
import resource
from asyncio import BaseTransport, TimerHandle, Transport
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

logger = logging.getLogger("services.connections")

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 100
MAX_PIPELINED = 100
HEAD_WITHIN_S = 10.0
BODY_WITHIN_S = 30.0
READ_WITHIN_S = 60.0
"""How long a client may leave a response unread while the rest of it waits to be sent."""
_LINGER_S = 1.0
_CHUNK_HEAD_BYTES = 12
"""What a chunk may have around its data: a size, and two line ends."""
_MAX_CONNECTIONS = 4096
_OTHER_FILES = 96
"""File descriptors that stay free for files, databases and outgoing connections."""


def max_connections() -> int:
    """Return how many connections may be open at once: fewer than this process may have files open."""
    soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(_MAX_CONNECTIONS, soft_limit - _OTHER_FILES))


class _RefusedError(Exception):
    """The parser is to stop: the request has been refused."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection. `_waits_since` is when it began to wait for its client, or None while a request is worked on."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._in_head = True
        self._head_bytes = 0
        self._framing_bytes = 0
        """What arrived since the head besides the body, at most."""
        self._begun = False
        self._idle = False
        self._running: RequestResponseCycle | None = None
        self._refused = False
        self._was_closing = False
        self._waits_since: float | None = None
        self._unread_since: float | None = None
        self._watch: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(cast(Transport, transport))
        self._waits_since = self.loop.time()
        self._watch = self.loop.call_later(HEAD_WITHIN_S, self._check)
        if len(self.connections) > max_connections():
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._drop_requests()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return  # read all the same, so that the client gets the response before the connection ends
        if not self._in_head:
            self._framing_bytes += len(data)
            super().data_received(data)
            if self._framing_bytes > MAX_HEAD_BYTES and not self._refused:
                self.refuse(431, f"The body has more than {MAX_HEAD_BYTES} bytes of trailers or chunk extensions")
            return
        if self._idle:
            self._idle = False
            self._waits_since = self.loop.time()
        room = MAX_HEAD_BYTES - self._head_bytes
        self._head_bytes += len(data)
        super().data_received(data[:room] if len(data) > room else data)
        if len(data) <= room or self._refused:
            return
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self.refuse(431, f"The request's head is larger than {MAX_HEAD_BYTES} bytes")
        else:
            self.data_received(data[room:])

    def on_message_begin(self) -> None:
        self._begun = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if len(self.headers) > MAX_HEADERS:
            self.refuse(431, f"The request has more than {MAX_HEADERS} headers")
            raise _RefusedError
        if len(self.pipeline) >= MAX_PIPELINED:
            self.refuse(429, f"More than {MAX_PIPELINED} requests wait on one connection")
            raise _RefusedError
        self._in_head = False
        self._head_bytes = self._framing_bytes = 0
        self._waits_since = self.loop.time()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= len(body) + _CHUNK_HEAD_BYTES
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head = True
        self._begun = False
        self._head_bytes = self._framing_bytes = 0
        self._waits_since = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_head and self.cycle.response_complete:
            self._waits_since = self.loop.time()
            self._idle = not self._begun

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: "ASGI3Application") -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        self._unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread_since = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        if not self._refused:
            self.refuse(400, msg)

    def refuse(self, status: int, detail: str) -> None:
        """Respond with an error and close the connection, soon even if the client does not.

        Requests that it carries are treated as if the client had disconnected.
        """
        self._refused = True
        logger.warning("%s: refused: %s", self.client[0] if self.client else "a client", detail)
        self._unset_keepalive_if_required()
        if self._drop_requests():
            self.transport.abort()  # a second response within the first would be garbage
            return
        self.flow.resume_reading()
        body = json.dumps({"detail": detail}).encode()
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.write_eof()
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self.loop.call_later(_LINGER_S, self.transport.abort)

    def _drop_requests(self) -> bool:
        """Treat the client as gone for the running request and forget the next ones.

        Report whether a response had begun.
        """
        self.pipeline.clear()
        cycle = self._running
        if cycle is None or cycle.response_complete:
            return False
        cycle.disconnected = True
        cycle.message_event.set()
        return cycle.response_started

    def _check(self) -> None:
        """End the connection if its client is too slow, else look again later."""
        now = self.loop.time()
        if self.flow.read_paused and self._waits_since is not None:
            self._waits_since = now  # it is the service that has not read the body yet
        waited_s = 0.0 if self._waits_since is None or self._idle else now - self._waits_since
        unread_s = 0.0 if self._unread_since is None else now - self._unread_since
        if unread_s >= READ_WITHIN_S or self._was_closing:
            self._drop_requests()
            self.transport.abort()
        elif waited_s >= (HEAD_WITHIN_S if self._in_head else BODY_WITHIN_S):
            self._end_slow_request()
        else:
            self._was_closing = self.transport.is_closing()
            self._watch = self.loop.call_later(HEAD_WITHIN_S / 4, self._check)

    def _end_slow_request(self) -> None:
        if self._in_head and not self._head_bytes:
            self.transport.close()
        else:
            self.refuse(408, "The request did not arrive in time")

    def _make_room(self) -> None:
        """Close the connection that has waited longest for its client, so that new clients are served."""
        waiting = ((c._waits_since, c) for c in self.connections if isinstance(c, LimitedProtocol))
        _, longest = min(((since, c) for since, c in waiting if since is not None), key=itemgetter(0))
        if longest is self:
            self.refuse(503, "Every connection is in use")
        else:
            logger.warning("%s: closed: too many connections wait for their clients", longest.client)
            longest.transport.abort()
            self.connections.discard(longest)  # at once: several connections may be accepted in one turn
