"""Closed loop: each connection sends its next request when the last one is settled."""

import asyncio
import sys
from collections.abc import Iterator
from time import perf_counter_ns as clock

from toombos_cli.load.connection import NO_PERMITS, Connection
from toombos_cli.load.engine import Engine
from toombos_cli.load.recorder import Recorder, Tally

# After a connection that failed, its worker waits: a dead server is not helped by ten thousand attempts a second.
_PAUSE_S = 0.1


class ClosedLoop(Engine):
    """`plan.connections` workers. A worker is a connection, or the opening of the one that follows it."""

    async def prepare(self) -> None:
        """Opens all connections, so that the first requests do not wait for them; those that fail are tried again."""
        self._working = self.plan.connections
        self._ready: list[Connection] = []
        if self.keepalive:
            tally = self.recorder.tallies[0]
            attempts = await asyncio.gather(*(self._timed(tally) for _ in range(self._working)), return_exceptions=True)
            self._ready = [found for found in attempts if isinstance(found, Connection)]
            for error in attempts:
                if isinstance(error, BaseException) and not isinstance(error, OSError):
                    raise error
        self._connect_times = dict(self.recorder.connect)

    async def _timed(self, tally: Tally) -> Connection:
        began = clock()
        connection = await self.connect()
        tally.connected(clock() - began)
        return connection

    def begin(self, origin_ns: int) -> None:
        self._limit = sys.maxsize
        self._permits = NO_PERMITS
        self._set_only()
        if self._warm:
            self.recorder.connect.update(self._connect_times)
            self._start_counting()
        else:
            self._later("warm-up", self.plan.warmup_s, lambda: self.warmup_over(clock()))
        self.beat(clock())
        for connection in self._ready:
            if connection.transport is not None:
                self.idle(connection)
            else:
                self._next()
        for _ in range(self._working - len(self._ready)):
            self._next()

    def _set_only(self) -> None:
        self._only = self.recorder.tallies[0] if len(self.recorder.tallies) == 1 else None

    def _start_counting(self) -> None:
        if self._only is not None:
            self._permits = self._permit()  # from here on, connections repeat the one request by themselves
        if self.plan.requests is not None:
            self._limit = self.plan.requests
        if self.plan.duration_s is not None:
            self._later("duration", self.plan.duration_s, self.end_issue)

    def _permit(self) -> Iterator[None]:
        """Gives something for each request that may be sent, and counts it."""
        while self.issued < self._limit:
            self.issued += 1
            yield

    def end_warmup(self, recorder: Recorder) -> None:
        recorder.connect.update(self._connect_times)
        self._set_only()
        self._start_counting()

    def end_issue(self) -> None:
        self._limit = 0
        self.issue_ended()

    def idle(self, connection: Connection) -> None:
        if self.issued < self._limit:
            self.issued += 1
            connection.permits = self._permits
            connection.send(self._only or self.pick(), 0)
        else:
            connection.close()
            self.connections.discard(connection)
            self._retire()

    def lost(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._next()

    def not_opened(self) -> None:
        self.loop.call_later(_PAUSE_S, self._next)

    def _next(self) -> None:
        """Goes on with a new connection; the wait for it is part of the response time."""
        if self.issued < self._limit:
            self.issued += 1
            self.open(self._only or self.pick(), clock())
        else:
            self._retire()

    def _retire(self) -> None:
        self._working -= 1
        if not self._working:
            self.finish()

    @property
    def inflight(self) -> int:
        return len(self.opening) + sum(connection.tally is not None for connection in self.connections)
