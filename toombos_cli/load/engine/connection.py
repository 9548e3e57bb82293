"""One connection: it is opened, writes requests, times the responses, and reports when it is idle or lost."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable, Iterator
from os import write
from time import perf_counter_ns as clock
from typing import Protocol, cast

from toombos_cli.base.addresses import is_loopback
from toombos_cli.load.engine.failures import classify
from toombos_cli.load.engine.histogram import EXACT_BELOW, SUB_BUCKET_BITS, bucket_of
from toombos_cli.load.engine.recorder import Recorder, RequestFailure, Tally
from toombos_cli.load.engine.response import MalformedResponseError, ResponseReader
from toombos_cli.load.plan import LoadPlan, LoadRequest
from toombos_cli.load.target_endpoint import tls_context
from toombos_cli.probes.received import is_http2

# In Linux's tcp_info: the state, which is CLOSE_WAIT after the end of the peer's data, CLOSE after its reset; the
# number of our segments that the peer has not acknowledged; and the shortest round trip in microseconds.
_TCP_CLOSE, _TCP_CLOSE_WAIT = 7, 8
_UNACKED = slice(24, 28)
_MIN_RTT = slice(148, 152)
_REJECTED_WITHIN_S = 0.02
# A server closes an idle connection after seconds. After such a rest, an end that follows a request at once may be that
# close, seen through a proxy that has read the request.
_LONG_REST_NS = _AT_ONCE_NS = 1_000_000_000
_END = b"\r\n\r\n"
_HTTP2 = "the server speaks HTTP/2; `http2 = true` in its table of the manifest asks for it"
NO_PERMITS: Iterator[None] = iter(())
_NOTHING = Recorder((LoadRequest(name="", method="", path="", request=b""),), 0).tallies[0]  # matches no response


class WorkSource(Protocol):
    """The owner of a connection, which gives it requests to send."""

    keepalive: bool
    retry_stale: bool

    def idle(self, connection: "Connection") -> None:
        """Called when the response is complete and the connection can take the next request."""

    def lost(self, connection: "Connection", *, answered: bool) -> None:
        """Called when the connection is lost and the request in flight has been counted."""

    def stale(self, connection: "Connection", tally: Tally, due: int) -> None:
        """Called when a request that was due then is to be sent again: the server had closed the connection before."""

    def closed_at_rest(self, connection: "Connection") -> None:
        """Called when the peer closed a connection with no request in flight, which is not an error."""


class Connection(asyncio.Protocol):
    """A connection with at most one request in flight (`tally` is not None then).

    Times are nanoseconds of the monotonic clock. `due` is when the request should have been sent, or 0 for the moment
    of its write. While `permits` lasts, the request is repeated on each response without asking the owner.
    """

    http_version = "1.1"
    __slots__ = (
        "_fast",
        "_fd",
        "_pending",
        "_reader",
        "due",
        "ended",
        "first_byte",
        "first_written",
        "owner",
        "permits",
        "rested",
        "tally",
        "transport",
        "written",
    )  # fmt: skip

    def __init__(self, owner: WorkSource) -> None:
        self.owner = owner
        self.permits = NO_PERMITS
        self.tally: Tally | None = None
        self.transport: asyncio.Transport | None = None
        self.due = self.written = self.first_written = self.first_byte = self.rested = 0
        self.ended: tuple[RequestFailure, str] | None = None
        """Why the peer ended the connection while no request was in flight, and the text of the error."""
        self._fast = _NOTHING  # the tally, while the next bytes may be a whole response that needs no parser
        self._reader: ResponseReader | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        # Write to plain connections directly, not through the transport: it may postpone a write to the end of the
        # loop's iteration, and the recorded time would be that of the call, not of the write.
        self._pending = bool(self.transport.get_extra_info("sslcontext"))
        self._fd = -1 if self._pending else self.transport.get_extra_info("socket").fileno()

    def send(self, tally: Tally, due: int) -> None:
        """Write the endpoint's request. The connection must be idle."""
        self.tally = self._fast = tally
        self.due = due
        self.written = clock()
        if not self.first_written:
            self.first_written = self.written
        self._write(tally.request, tally.size)

    def _write(self, request: bytes, size: int) -> None:
        sent = 0
        if not self._pending:
            try:
                sent = write(self._fd, request)
            except BlockingIOError:
                pass
            except OSError as error:
                self._not_responded(classify(error, "send"), str(error), was_read=False)
                return
            if sent == size:
                return
            self._pending = True  # the transport buffers the remainder; later writes must queue behind it
        assert self.transport is not None  # noqa: S101  (set before anything is sent)
        self.transport.write(request[sent:])

    def rest(self) -> None:
        """Note that the connection is idle from now on."""
        self.tally = None
        self._fast = _NOTHING
        self.rested = clock()

    def data_received(self, data: bytes) -> None:
        now = clock()
        tally = self._fast
        head, length, cells = tally.latest
        if len(data) != length or not data.startswith(head):
            self._read(data, now)
            return
        latency = (now - self.written) // 1000
        if latency >= EXACT_BELOW:
            shift = latency.bit_length() - SUB_BUCKET_BITS
            latency = latency >> shift << shift
        if self.due:
            cells.service[latency] += 1
            cells.first_byte[latency] += 1
            cells.response[bucket_of((now - self.due) // 1000)] += 1
        else:
            cells.alike[latency] += 1
            for _ in self.permits:
                self.written = now  # a microsecond before the write; also the moment the next request was due
                self._write(tally.request, tally.size)
                return
        self.owner.idle(self)

    def _read(self, data: bytes, now: int) -> None:
        """Handle received bytes in the general case, with the parser."""
        tally = self.tally
        if tally is None:
            said = _HTTP2 if is_http2(data) else "the server sent bytes that no request asked for"
            self._end_at_rest(RequestFailure("malformed", "wait", ""), said)
            return
        known = self._fast.heads.get(data[: data.find(_END) + len(_END)])
        if known is not None and known.length == len(data):
            tally.latest = known
            self.data_received(data)
            return
        first = not self.first_byte
        if first:
            self.first_byte = now
            reader = self._begin_reading(tally)
        else:
            assert self._reader is not None  # noqa: S101  (the first bytes made it)
            reader = self._reader
        try:
            complete = reader.feed(data)
        except MalformedResponseError as error:
            said = _HTTP2 if first and is_http2(data) else str(error)
            self._fail(classify(error, "body" if reader.status else "wait"), said)
            return
        if not complete:
            self._fast = _NOTHING
            return
        if first and reader.framed_by_head and reader.keep_alive and self.owner.keepalive:
            end = data.find(_END)
            if end > 0:
                self._learn(tally, data[: end + len(_END)], len(data), reader)
        self._count(tally, reader, now)
        self._settle(usable=reader.keep_alive)

    def _begin_reading(self, tally: Tally) -> ResponseReader:
        """Return the reader, prepared for the response to this request."""
        reader = self._reader
        if reader is None:
            reader = self._reader = ResponseReader()
        reader.begin(bodiless=tally.bodiless)
        return reader

    def _learn(self, tally: Tally, head: bytes, length: int, reader: ResponseReader) -> None:
        """Remember the head of a response whose length it determines."""
        tally.learn(head, length, reader.status)

    def _count(self, tally: Tally, reader: ResponseReader, now: int) -> None:
        if reader.status >= 400:
            tally.result.samples.setdefault(reader.status, reader.excerpt)
        self._record(tally, reader.status, ok=reader.status < 400, now=now, due=self.due or self.written)

    def _record(self, tally: Tally, status: int, *, ok: bool, now: int, due: int) -> None:
        cells = tally.cells(status, ok)
        service = bucket_of((now - self.written) // 1000)
        if self.first_byte == now and due == self.written:
            cells.alike[service] += 1
            return
        cells.service[service] += 1
        cells.first_byte[bucket_of((self.first_byte - self.written) // 1000)] += 1
        cells.response[bucket_of((now - due) // 1000)] += 1

    def _settle(self, *, usable: bool) -> None:
        """Release or close the connection after its request was counted."""
        self.first_byte = 0
        if usable and self.owner.keepalive:
            self.owner.idle(self)
        else:
            self.close()
            self.owner.lost(self, answered=True)

    def eof_received(self) -> bool:
        tally, reader = self.tally, self._reader
        if tally is not None:
            if not self.first_byte:
                return self._ended()
            if reader is not None and reader.finish():
                self._count(tally, reader, clock())
                self._settle(usable=False)
            else:
                self._fail(RequestFailure("truncated", "body", ""), "closed before the end of the response")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.tally is not None:
            error = exc or ConnectionResetError("connection lost")
            if self.first_byte:
                self._fail(classify(error, "body"), str(error))
            else:
                self._not_responded(classify(error, "wait"), str(error), was_read=None)
        elif self.transport is not None:
            failure = RequestFailure("eof", "wait", "") if exc is None else classify(exc, "wait")
            self._end_at_rest(failure, str(exc or "closed before the request"))

    def _end_at_rest(self, failure: RequestFailure, sample: str) -> None:
        """Close the connection, on which no request is in flight, as the peer has ended it or cannot be understood."""
        self.ended = failure, sample
        self.close()
        self.owner.closed_at_rest(self)

    def _ended(self) -> bool:
        """Handle the end of the peer's data before the first byte; report whether to keep the connection for now.

        A server that ends its data and then closes without having read the request rejects it only with the second.
        """
        was_read = self._was_read()
        if was_read and self._fd >= 0 and self.written != self.first_written:
            asyncio.get_running_loop().call_later(_REJECTED_WITHIN_S, self._ended_for_good)
            return True
        self._ended_for_good()
        return False

    def _ended_for_good(self) -> None:
        if self.tally is not None and self.transport is not None:  # not given up since
            failure = RequestFailure("eof", "wait", "")
            self._not_responded(failure, "closed before the first byte", was_read=self._was_read())

    def _not_responded(self, failure: RequestFailure, sample: str, *, was_read: bool | None) -> None:
        """Fail a request whose connection ended before the first byte, or have it sent again.

        `was_read`: whether the server has read the request; None if that is unknown. If it has not, on a connection
        that has served another request, it closed the connection between the two: nobody's fault. A request that it
        may have read is sent again only if that is safe.
        """
        assert self.tally is not None  # noqa: S101  (callers fail a request in flight)
        tally, due = self.tally, self.due or self.written
        if was_read or self.written == self.first_written:
            self._fail(failure, sample)
        elif self.owner.retry_stale and (was_read is False or tally.repeatable):
            self.close()
            self.owner.stale(self, tally, due)
        else:
            self._fail(failure._replace(error_class="stale_reuse"), sample)

    def _was_read(self) -> bool | None:
        """Report whether the server read the request before it ended the connection; None if that is unknown.

        The end of its data acknowledges what it had got by then, and a server that had closed by then rejects what
        comes later with a reset. On a long way that may still be under way, but an end that came sooner than any
        response can was sent before the request arrived.
        """
        assert self.transport is not None  # noqa: S101  (callers have a connection)
        if not hasattr(socket, "TCP_INFO"):
            return None
        try:
            info = self.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 152)
        except OSError:  # a Unix socket
            return None
        if info[0] == _TCP_CLOSE or any(info[_UNACKED]):
            return False
        took_ns = clock() - self.written
        is_too_soon = took_ns // 1000 < int.from_bytes(info[_MIN_RTT], sys.byteorder)
        is_idle_close = self.rested and self.written - self.rested >= _LONG_REST_NS and took_ns < _AT_ONCE_NS
        return True if info[0] == _TCP_CLOSE_WAIT and not is_too_soon and not is_idle_close else None

    def _fail(self, failure: RequestFailure, sample: str) -> None:
        assert self.tally is not None  # noqa: S101  (callers fail a request in flight)
        self.tally.fail(failure, sample, clock())
        self.close()
        self.owner.lost(self, answered=False)

    def give_up(self, error_class: str, now: int) -> None:
        """Give up the request in flight, recording its time so far as a lower bound, and close the connection."""
        assert self.tally is not None  # noqa: S101  (callers check)
        phase = "body" if self.first_byte else "wait"
        waited_ms = (now - self.written) / 1e6
        shown = f"{waited_ms / 1000:.1f} s" if waited_ms >= 1000 else f"{waited_ms:.1f} ms"
        self.tally.fail(RequestFailure(error_class, phase, ""), f"no complete response after {shown}", now)
        self.tally.censor(due_ns=self.due or self.written, written_ns=self.written, now_ns=now)
        self.close()
        self.owner.lost(self, answered=False)

    def close(self) -> None:
        """Close the connection at once without notifying the owner."""
        self.tally = None
        self._fast = _NOTHING
        if self.transport is not None:
            transport, self.transport = self.transport, None
            transport.abort()


class Connector:
    """Opens connections to the target; `make` creates the protocol of each."""

    def __init__(self, plan: LoadPlan, make: Callable[[], Connection]) -> None:
        self._target = plan.target
        self._timeout_s = plan.timeout_s
        self._make = make
        self._ssl = tls_context(plan.target) if plan.target.scheme == "https" else None
        self._on_loopback = is_loopback(plan.target.address)

    async def connect(self) -> Connection:
        """Return a new connection, TLS included. Raise OSError (also TimeoutError and ssl.SSLError)."""
        target = self._target
        async with asyncio.timeout(self._timeout_s):
            loop, host = asyncio.get_running_loop(), target.host if self._ssl else None
            if target.endpoint.unix is not None:
                path = str(target.endpoint.unix)
                transport, connection = await loop.create_unix_connection(
                    self._make, path, ssl=self._ssl, server_hostname=host
                )
            else:
                transport, connection = await loop.create_connection(
                    self._make, target.address, target.port, ssl=self._ssl, server_hostname=host
                )
        if self._on_loopback:
            _spare_congestion_control(transport)
        return connection


def _spare_congestion_control(transport: asyncio.BaseTransport) -> None:
    """Choose a simple congestion control: loopback has no congestion, and BBR costs both ends 1 % of their time."""
    with contextlib.suppress(AttributeError, OSError):  # not on every system
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
