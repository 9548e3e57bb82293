"""Open loop: requests are due at their time, whatever became of the ones before."""

from collections import deque
from dataclasses import replace
from itertools import islice
from time import perf_counter_ns as clock

from toombos_cli.load import histogram
from toombos_cli.load.alarm import Alarm
from toombos_cli.load.connection import Connection
from toombos_cli.load.engine import Engine
from toombos_cli.load.pacer import arrival_times
from toombos_cli.load.recorder import Recorder, Tally

_AT_ONCE = 256  # after so many overdue requests the answers get a turn
_ALARM_GAP_NS = 100_000  # at most ten thousand wake-ups a second; what falls due in between is sent together


class OpenLoop(Engine):
    """Sends each request over a free connection, or a new one while there are fewer than `max_connections`.

    Beyond that requests queue, and the time they do is part of their response time.
    """

    _issued = 0
    _dropped = 0

    async def prepare(self) -> None:
        stages = self.plan.stages
        if self.plan.warmup_s:
            rate = stages[0].start_rps or stages[0].end_rps
            stages = (replace(stages[0], duration_s=self.plan.warmup_s, start_rps=rate, end_rps=rate), *stages)
        first, step = self.plan.part
        self._times = islice(arrival_times(stages, self.plan.arrival, self.plan.seed), first, None, step)
        self._free: list[Connection] = []
        self._queue: deque[tuple[Tally, int]] = deque()
        self._outstanding = 0
        self._all_issued = False
        self._alarm = Alarm(self.loop, self._ring)

    def begin(self, origin_ns: int) -> None:
        self._origin = origin_ns
        self._counted_from = origin_ns + int(self.plan.warmup_s * 1e9)
        self._due = self._next_due()
        self._ring()

    def _next_due(self) -> int | None:
        offset = next(self._times, None)
        return None if offset is None else self._origin + offset

    def _ring(self) -> None:
        """Sends what is due, and sets the alarm for what comes next."""
        lag = self.recorder.lag
        for _ in range(_AT_ONCE):
            now = clock()
            due = self._due
            if due is None:
                self.end_issue()
                return
            if due > now:
                self._alarm.set(max(due, now + _ALARM_GAP_NS))
                return
            if due >= self._counted_from and not self._warm:
                self.warmup_over(self._counted_from)
                lag = self.recorder.lag
            lag[histogram.bucket_of((now - due) // 1000)] += 1
            self._due = self._next_due()
            self._dispatch(self.pick(), due)
        self._alarm.set(now)

    def _dispatch(self, tally: Tally, due: int) -> None:
        while self._free:
            connection = self._free.pop()
            if connection.transport is not None:
                self._note_sent(tally)
                connection.send(tally, due)
                return
        if len(self.connections) + len(self.opening) < self.plan.max_connections:
            self._note_sent(tally)
            self.open(tally, due)
        else:
            self._queue.append((tally, due))

    def _note_sent(self, tally: Tally) -> None:
        self._outstanding += 1
        self._issued += tally.recorder is self.recorder  # not those that have queued since the warm-up

    def idle(self, connection: Connection) -> None:
        self._outstanding -= 1
        if self._queue:
            tally, due = self._queue.popleft()
            self._note_sent(tally)
            connection.send(tally, due)
        else:
            connection.rest()
            self._free.append(connection)
            self._finish_if_done()

    def lost(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._settled()

    def not_opened(self) -> None:
        self._settled()

    def _settled(self) -> None:
        self._outstanding -= 1
        if self._queue:
            self._dispatch(*self._queue.popleft())
        else:
            self._finish_if_done()

    def _finish_if_done(self) -> None:
        if self._all_issued and not self._outstanding and not self._queue:
            self.finish()

    def end_warmup(self, recorder: Recorder) -> None:
        self._issued = 0

    @property
    def issued(self) -> int:
        return self._issued

    def end_issue(self) -> None:
        self._all_issued = True
        self._due = None
        self._alarm.close()
        self.issue_ended()
        self._finish_if_done()

    def give_up_rest(self) -> None:
        """What still queues was never sent: it is dropped, and its wait kept as a lower bound."""
        now = clock()
        for tally, due in self._queue:
            self._dropped += tally.recorder is self.recorder
            tally.censor(due_ns=due, written_ns=0, now_ns=now)
        self._queue.clear()
        super().give_up_rest()

    @property
    def inflight(self) -> int:
        return self._outstanding + len(self._queue)

    @property
    def dropped(self) -> int:
        return self._dropped
