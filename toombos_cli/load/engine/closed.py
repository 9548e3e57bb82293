"""Closed loop: each connection sends its next request when the last one is settled."""

import asyncio
import sys
from collections.abc import Iterator
from itertools import repeat
from operator import length_hint
from time import perf_counter_ns as clock

from toombos_cli.load.engine.connection import NO_PERMITS, Connection
from toombos_cli.load.engine.engine import Engine
from toombos_cli.load.engine.recorder import Recorder, Tally

# Pause of a worker whose connection failed: ten thousand attempts per second do not help a dead server.
_PAUSE_S = 0.1
# Time, on top of the request timeout, for a server to restart.
_PATIENCE_S = 10.0


class ClosedLoop(Engine):
    """A closed loop of `plan.connections` workers. A worker is a connection, or the opening of its successor.

    Each request takes one permit, so the permits left tell how many requests were sent, at no cost per request.
    """

    _given = 0
    _answers = 0
    _answered_ns = 0
    _permits: Iterator[None] = NO_PERMITS
    _is_one_round = False

    async def prepare(self) -> None:
        """Open all connections, so that the first requests do not wait for them; those that fail are tried again."""
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
        if self._warm:
            self._start_counting()
        else:
            self._allow(sys.maxsize)
            self._later("warm-up", self.plan.warmup_s, lambda: self.warmup_over(clock()))
        self.beat(clock())
        for connection in self._ready:
            if connection.transport is not None:
                self.idle(connection)
            else:
                self._next(clock())
        for _ in range(self._working - len(self._ready)):
            self._next(clock())

    def _start_counting(self) -> None:
        self.recorder.connect.update(self._connect_times)
        self._allow(sys.maxsize if self.plan.requests is None else self.plan.requests)
        if self.plan.duration_s is not None:
            self._later("duration", self.plan.duration_s, self.end_issue)

    def _allow(self, requests: int) -> None:
        """Permit this many more requests. Every connection asks once before it repeats requests on its own."""
        self._given = requests
        self._permits = repeat(None, requests)
        for connection in self.connections:
            connection.permits = NO_PERMITS

    @property
    def issued(self) -> int:
        return self._given - length_hint(self._permits)

    def end_warmup(self, recorder: Recorder) -> None:
        self._start_counting()

    def end_issue(self) -> None:
        issued = self.issued
        self._allow(0)
        self._given = issued
        self.issue_ended(clock())

    def idle(self, connection: Connection) -> None:
        for _ in self._permits:
            if len(self.recorder.tallies) == 1:
                connection.permits = self._permits  # only one kind of request: no need to ask which
            connection.send(self.pick(), 0)
            return
        connection.close()
        self.connections.discard(connection)
        self._retire(clock(), answered=True)

    def lost(self, connection: Connection, *, answered: bool) -> None:
        self.connections.discard(connection)
        self._next(clock() if answered else connection.written, answered=answered)

    def not_opened(self) -> None:
        failed_ns = clock()
        self.loop.call_later(_PAUSE_S, lambda: self._next(failed_ns))

    def _next(self, ended_ns: int, *, answered: bool = False) -> None:
        """Continue with a new connection; the wait for it is part of the response time."""
        for _ in self._permits:
            self.open(self.pick(), clock())
            return
        self._retire(ended_ns, answered=answered)

    def _retire(self, ended_ns: int, *, answered: bool) -> None:
        """End a worker, for which no request is left since `ended_ns`.

        The first one ends the sending. If there are hardly more requests than connections, so that less than half of
        them have a response by then, the sending lasts until the last response.
        """
        if not self.sending_ended_ns:
            self.sending_over(max(ended_ns, self.recorder.origin_ns))
            self._is_one_round = 2 * self.recorder.answered_in_time < self.issued
        elif self._is_one_round and answered:
            self.sending_over(ended_ns)
        self._working -= 1
        if not self._working:
            self.finish()

    def has_lost_target(self, now_ns: int) -> bool:
        answers = self.recorder.answers
        if answers != self._answers or not self._answered_ns:
            self._answers, self._answered_ns = answers, now_ns
        waited_s = (now_ns - self._answered_ns) / 1e9
        return self.plan.duration_s is None and waited_s > self.plan.timeout_s + _PATIENCE_S

    @property
    def inflight(self) -> int:
        return len(self.opening) + sum(connection.tally is not None for connection in self.connections)
