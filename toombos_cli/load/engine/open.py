"""Open loop: requests are due on schedule, whatever happened to the ones before."""

from collections import defaultdict
from dataclasses import replace
from itertools import islice
from time import perf_counter_ns as clock

from toombos_cli.load.engine import histogram
from toombos_cli.load.engine.alarm import Alarm
from toombos_cli.load.engine.connection import Connection
from toombos_cli.load.engine.engine import Engine
from toombos_cli.load.engine.histogram import Buckets
from toombos_cli.load.engine.pacer import arrival_times
from toombos_cli.load.engine.recorder import Recorder, Tally
from toombos_cli.load.observer import LoadObserver
from toombos_cli.load.plan import LoadPlan

_AT_ONCE = 256  # after this many overdue requests, let the loop read responses
_ALARM_GAP_NS = 100_000  # at most ten thousand wake-ups per second; requests due in between are sent together


class OpenLoop(Engine):
    """An open loop: each request uses a free connection, or a new one if there are fewer than `max_connections`.

    While all are busy, overdue requests wait, oldest first, and the wait is part of their response time. Overdue
    requests are not stored: the schedule generates them when a connection is free.
    """

    def __init__(self, plan: LoadPlan, observer: LoadObserver) -> None:
        super().__init__(plan, observer)
        stages = plan.stages
        if plan.warmup_s:
            rate = stages[0].start_rps or stages[0].end_rps
            stages = (replace(stages[0], duration_s=plan.warmup_s, start_rps=rate, end_rps=rate), *stages)
        first, step = plan.part
        self._times = islice(arrival_times(stages, plan.arrival, plan.seed), first, None, step)
        self._scheduled_s = sum(stage.duration_s for stage in stages)
        self._due: int | None = None
        self._issued = self._dropped = self._outstanding = 0
        self._free: list[Connection] = []
        self._waits = False  # the next request is overdue, as no connection was free
        self._alarm = Alarm(self.loop, self._ring)

    async def prepare(self) -> None:
        """Do nothing: connections are opened when requests need them."""

    def begin(self, origin_ns: int) -> None:
        self._origin = origin_ns
        self._counted_from = origin_ns + int(self.plan.warmup_s * 1e9)
        if not self._warm:
            self._later("warm-up", self.plan.warmup_s, self._ring)
        self._schedule_end = origin_ns + round(self._scheduled_s * 1e9)
        self._later("schedule", self._scheduled_s, lambda: self.issue_ended(self._schedule_end))
        self.beat(clock())
        self._due = self._next_due()
        self._ring()

    def _next_due(self) -> int | None:
        offset = next(self._times, None)
        return None if offset is None else self._origin + offset

    def _ring(self) -> None:
        """Send the requests that are due while connections last, and set the alarm for the next one."""
        for _ in range(_AT_ONCE):
            now = clock()
            if not self._warm and now >= self._counted_from:
                self._begin_to_count()
            due = self._due
            if due is None:
                self._finish_if_done()
                return
            if due > now:
                self._waits = False
                self._alarm.set(max(due, now + _ALARM_GAP_NS))
                return
            connection = self._take_free()
            if connection is None and len(self.connections) + len(self.opening) >= self.plan.max_connections:
                self._waits = True
                return
            if not self._waits:
                self.recorder.lag[histogram.bucket_of((now - due) // 1000)] += 1
            self._due = self._next_due()
            self._issued += 1
            self._outstanding += 1
            if connection is not None:
                connection.send(self.pick(), due)
            else:
                self.open(self.pick(), due)
        self._alarm.set(clock())

    def _begin_to_count(self) -> None:
        """Start counting at the end of the warm-up; overdue requests of the warm-up are skipped."""
        self.warmup_over(self._counted_from)
        while self._due is not None and self._due < self._counted_from:
            self._due = self._next_due()

    def _take_free(self) -> Connection | None:
        while self._free:
            connection = self._free.pop()
            if connection.transport is not None:
                return connection
        return None

    def idle(self, connection: Connection) -> None:
        connection.rest()
        self._free.append(connection)
        self._settled()

    def lost(self, connection: Connection, *, answered: bool) -> None:
        self.connections.discard(connection)
        self._settled()

    def not_opened(self) -> None:
        self._settled()

    def _settled(self) -> None:
        """Note the end of a request; an overdue one may take its place."""
        self._outstanding -= 1
        if self._waits or self._due is None:
            self._ring()

    def _finish_if_done(self) -> None:
        if not self._outstanding:
            self.issue_ended(self._schedule_end)
            self.finish()

    def end_warmup(self, recorder: Recorder) -> None:
        self._issued = 0

    @property
    def issued(self) -> int:
        return self._issued

    def end_issue(self) -> None:
        self.issue_ended(min(clock(), self._schedule_end))
        self._drop_overdue()

    def give_up_rest(self) -> None:
        self._drop_overdue()
        super().give_up_rest()

    def _drop_overdue(self) -> None:
        """Drop the requests that are due but have no connection, recording their waits as lower bounds."""
        now = clock()
        waits: defaultdict[Tally, Buckets] = defaultdict(lambda: defaultdict(int))
        while self._due is not None and self._due <= now:
            waits[self.pick()][histogram.bucket_of((now - self._due) // 1000)] += 1
            self._due = self._next_due()
        self._due = None
        for tally, waited in waits.items():
            self._dropped += histogram.count(waited)
            tally.never_sent(waited)

    def _stop(self) -> None:
        super()._stop()
        self._alarm.close()

    @property
    def inflight(self) -> int:
        return self._outstanding

    @property
    def dropped(self) -> int:
        return self._dropped
