"""One connection: writes a request, times the response, and says when it is free again or gone."""

import asyncio
import os
from functools import partial
from time import perf_counter_ns as clock
from typing import Protocol, cast

from toombos_cli.load.failures import classify
from toombos_cli.load.histogram import EXACT_BELOW, SUB_BUCKET_BITS, bucket_of
from toombos_cli.load.recorder import Cells, Failure, Tally
from toombos_cli.load.response import MalformedResponseError, ResponseReader

# A server closes a kept-alive connection after seconds of idleness. Only after at least so long can a loss before the
# first byte be its decision crossing our request on the way; sooner, it is an answer to the request.
_STALE_AFTER_NS = 1_000_000_000
_KNOWN_HEADS = 256


class Owner(Protocol):
    """Who gives a connection its work."""

    keepalive: bool

    def idle(self, connection: "Connection") -> None:
        """The request was answered, and the connection may take the next."""

    def lost(self, connection: "Connection") -> None:
        """The connection is gone, and the request it had has been counted."""

    def closed_at_rest(self, connection: "Connection") -> None:
        """The peer closed a connection that had no request under way: its right, and no error."""


class Connection(asyncio.Protocol):
    """A connection with at most one request under way (`tally` is not None then).

    Times are nanoseconds of the monotonic clock. `due` is when the request should have been sent; 0: when it was.
    """

    __slots__ = (
        "_heads",
        "_reader",
        "_rested",
        "_write",
        "due",
        "first_byte",
        "owner",
        "tally",
        "transport",
        "written",
    )

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.tally: Tally | None = None
        self.transport: asyncio.Transport | None = None
        self.due = self.written = self.first_byte = self._rested = 0
        self._heads: dict[bytes, tuple[int, Cells]] = {}
        self._reader: ResponseReader | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.transport.get_extra_info("sslcontext"):
            self._write = self._write_through_transport
        else:
            # Straight into the socket: transports may put a write off to the end of the loop's round, and then the
            # time of the write would be that of the wish.
            self._write = partial(os.write, self.transport.get_extra_info("socket").fileno())

    def send(self, tally: Tally, due: int) -> None:
        """Writes the endpoint's request. Only for a connection that is idle."""
        self.tally = tally
        self._heads = tally.heads
        self.due = due
        self.written = clock()
        try:
            sent = self._write(tally.request)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._fail(classify(error, "send"), str(error))
            return
        if sent != len(tally.request):
            self._write = self._write_through_transport  # which now holds a rest, and keeps the order
            self._write(tally.request[sent:])

    def _write_through_transport(self, data: bytes) -> int:
        assert self.transport is not None  # noqa: S101  (set before anything is sent)
        self.transport.write(data)
        return len(data)

    def rest(self) -> None:
        """Notes that no request is under way and the connection idles from now on."""
        self.tally = None
        self._heads = {}
        self._rested = clock()

    def data_received(self, data: bytes) -> None:
        now = clock()
        # What a known head announces is known too; identical heads are the rule within a second. All else, and
        # every head at its first sight, goes through the parser.
        heads = self._heads
        known = heads.get(data[: data.find(b"\r\n\r\n")]) if heads else None
        if known is None or known[0] != len(data):
            self._read(data, now)
            return
        latency = (now - self.written) // 1000
        if latency >= EXACT_BELOW:
            shift = latency.bit_length() - SUB_BUCKET_BITS
            latency = latency >> shift << shift
        cells = known[1]
        if self.due:
            cells.service[latency] += 1
            cells.first_byte[latency] += 1
            cells.response[bucket_of((now - self.due) // 1000)] += 1
        else:
            cells.alike[latency] += 1
        self.owner.idle(self)

    def _read(self, data: bytes, now: int) -> None:
        """The general way: through the parser."""
        tally = self.tally
        if tally is None:
            self.close()  # bytes that nobody asked for
            return
        reader = self._reader
        if reader is None:
            reader = self._reader = ResponseReader()
        first = not self.first_byte
        if first:
            self.first_byte = now
            reader.begin(bodiless=tally.bodiless)
        try:
            complete = reader.feed(data)
        except MalformedResponseError as error:
            self._fail(classify(error, "body" if reader.status else "wait"), str(error))
            return
        if not complete:
            self._heads = {}
            return
        if first and reader.framed_by_head and reader.keep_alive and self.owner.keepalive:
            if len(tally.heads) >= _KNOWN_HEADS:
                tally.heads.clear()
            end = data.find(b"\r\n\r\n")
            if end > 0:
                tally.heads[data[:end]] = (len(data), tally.cells(reader.status))
        self._count(tally, reader.status, now)
        self._settle(usable=reader.keep_alive)

    def _count(self, tally: Tally, status: int, now: int) -> None:
        cells = tally.cells(status)
        cells.service[bucket_of((now - self.written) // 1000)] += 1
        cells.first_byte[bucket_of((self.first_byte - self.written) // 1000)] += 1
        cells.response[bucket_of((now - (self.due or self.written)) // 1000)] += 1

    def _settle(self, *, usable: bool) -> None:
        """The request is counted: the connection is free, or it ends."""
        self.first_byte = 0
        if usable and self.owner.keepalive:
            self.owner.idle(self)
        else:
            self.close()
            self.owner.lost(self)

    def eof_received(self) -> bool:
        tally, reader = self.tally, self._reader
        if tally is not None:
            if not self.first_byte:
                self._fail(self._before_first_byte(Failure("eof", "wait", "")), "closed before the first byte")
            elif reader is not None and reader.finish():
                self._count(tally, reader.status, clock())
                self._settle(usable=False)
            else:
                self._fail(Failure("truncated", "body", ""), "closed before the end of the response")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.tally is not None:
            error = exc or ConnectionResetError("connection lost")
            if self.first_byte:
                self._fail(classify(error, "body"), str(error))
            else:
                self._fail(self._before_first_byte(classify(error, "wait")), str(error))
        elif self.transport is not None:
            self.transport = None
            self.owner.closed_at_rest(self)

    def _before_first_byte(self, failure: Failure) -> Failure:
        rested = self._rested and self.written - self._rested >= _STALE_AFTER_NS
        return failure._replace(error_class="stale_reuse") if rested else failure

    def _fail(self, failure: Failure, sample: str) -> None:
        assert self.tally is not None  # noqa: S101  (callers fail a request that is under way)
        self.tally.fail(failure, sample, clock())
        self.close()
        self.owner.lost(self)

    def give_up(self, error_class: str, now: int) -> None:
        """Ends the request under way without an answer and keeps its time as a lower bound; ends the connection."""
        assert self.tally is not None  # noqa: S101  (callers look)
        phase = "body" if self.first_byte else "wait"
        self.tally.fail(
            Failure(error_class, phase, ""), f"no complete answer after {(now - self.written) / 1e9:.3f} s", now
        )
        self.tally.censor(due_ns=self.due or self.written, written_ns=self.written, now_ns=now)
        self.close()
        self.owner.lost(self)

    def close(self) -> None:
        """Ends the connection at once; the owner is not told."""
        self.tally = None
        self._heads = {}
        if self.transport is not None:
            transport, self.transport = self.transport, None
            transport.abort()
