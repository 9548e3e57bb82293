"""The load engine: what closed and open loop have in common. One process, one event loop, one EngineResult.

fleet.run_engine -> ClosedLoop | OpenLoop -> Connection -> Tally (counts) -> Recorder.cut -> EngineResult
"""

import asyncio
import gc
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns as clock

from toombos_cli.load.engine import histogram
from toombos_cli.load.engine.connection import Connection, Connector
from toombos_cli.load.engine.failures import classify
from toombos_cli.load.engine.recorder import CENSORED, EngineResult, Recorder, RequestFailure, Tally
from toombos_cli.load.engine.timeline import FIRST_INTERVAL_NS
from toombos_cli.load.observer import LoadObserver, snapshot
from toombos_cli.load.plan import LoadPlan

_SWEEP_S = 0.05
_HEARTBEAT_NS = 10_000_000


@dataclass(slots=True)
class Opening:
    """A request waiting for its connection."""

    tally: Tally
    due: int


class Engine(ABC):
    """The driver of one plan on one event loop. Subclasses decide when a request is sent."""

    def __init__(self, plan: LoadPlan, observer: LoadObserver) -> None:
        self.plan = plan
        self.keepalive = plan.keepalive
        self.retry_stale = plan.retry_stale
        self.loop = asyncio.get_running_loop()
        self.recorder = Recorder(plan.endpoints, clock())
        self.connections: set[Connection] = set()
        self.opening: dict[asyncio.Task[None], Opening] = {}
        self.sent_in_time = 0
        self.sending_ended_ns = self.ended_ns = 0
        self.interrupted_by = 0
        self.aborted = False
        self.target_lost = False
        self._prepared = False
        self._finished: asyncio.Future[None] = self.loop.create_future()
        self._random = random.Random(plan.seed)  # noqa: S311  (the order of requests is not a secret)
        self._weights = [endpoint.weight for endpoint in plan.endpoints]
        self._connector = Connector(plan, self.new_connection)
        self._observer = observer
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._cuts = 0
        self._warm = plan.warmup_s == 0
        self._cpu_s = self._cpu_sending_s = 0.0
        self._most_connections = 0
        self._http_versions: set[str] = set()

    # A run: prepare, then start at the origin and continue until nothing is left to wait for.

    async def run(self, origin_ns: int | None = None) -> EngineResult:
        """Run the plan; the first request is due at `origin_ns` (None: now)."""
        preparing = self.loop.create_task(self.prepare())
        await asyncio.wait({preparing, self._finished}, return_when=asyncio.FIRST_COMPLETED)
        if not preparing.done():
            preparing.cancel()
        else:
            preparing.result()
            self._prepared = True
        if origin_ns is not None and origin_ns > clock():
            await asyncio.sleep((origin_ns - clock()) / 1e9)
        origin = origin_ns or clock()
        self.recorder = Recorder(self.plan.endpoints, origin)
        self._cpu_s = time.process_time()
        self._later("sweep", _SWEEP_S, self._sweep)
        self._later("tick", FIRST_INTERVAL_NS / 1e9, self._tick)
        try:
            if not self._finished.done():
                self.begin(origin)
            await self._finished
        finally:
            self._stop()
        self.recorder.cut(self.ended_ns, sent=self.issued, inflight=0)
        return self._outcome(self.ended_ns)

    def _outcome(self, now_ns: int) -> EngineResult:
        """Return what was measured up to the last cut."""
        recorder = self.recorder
        return EngineResult(
            endpoints=[tally.result for tally in recorder.tallies],
            connect=dict(recorder.connect),
            lag=dict(recorder.lag_total),
            timeline=recorder.timeline,
            started_ns=recorder.origin_ns,
            scheduled=self.issued + self.dropped,
            dropped=self.dropped,
            sent_in_time=self.sent_in_time,
            sending_ended_ns=self.sending_ended_ns or now_ns,
            ended_ns=now_ns,
            cpu_s=time.process_time() - self._cpu_s,
            cpu_sending_s=self._cpu_sending_s if self.sending_ended_ns else time.process_time() - self._cpu_s,
            connections=self._most_connections,
            http_versions=frozenset(self._http_versions),
            interrupted_by=self.interrupted_by,
            aborted=self.aborted,
            target_lost=self.target_lost,
        )

    @abstractmethod
    async def prepare(self) -> None:
        """Prepare what must be ready before the first request."""

    @abstractmethod
    def begin(self, origin_ns: int) -> None:
        """Send the first request and schedule the others."""

    @abstractmethod
    def idle(self, connection: Connection) -> None:
        """Give an idle connection its next request or let it rest."""

    @abstractmethod
    def lost(self, connection: Connection, *, answered: bool) -> None:
        """Handle the loss of a connection whose request has been counted."""

    def stale(self, connection: Connection, tally: Tally, due: int) -> None:
        """Send a request again, on a fresh connection in place of the one that the server had closed."""
        tally.result.retried += 1
        self.connections.discard(connection)
        self.open(tally, due)

    def closed_at_rest(self, connection: Connection) -> None:
        """Forget a connection that the peer closed with no request in flight."""
        self.connections.discard(connection)

    @abstractmethod
    def not_opened(self) -> None:
        """Handle a connection that could not be opened; its request has been counted."""

    @abstractmethod
    def end_warmup(self, recorder: Recorder) -> None:
        """Count what is sent from now on with this recorder."""

    @abstractmethod
    def end_issue(self) -> None:
        """Send no more requests; let those in flight finish."""

    def has_lost_target(self, now_ns: int) -> bool:
        """Report whether to give up: no response for too long, in a run that only responses can end."""
        return False

    @property
    @abstractmethod
    def issued(self) -> int:
        """Return the number of requests sent or waiting for their own connection since counting started."""

    @property
    @abstractmethod
    def inflight(self) -> int:
        """Return the number of requests in flight or waiting for their own connection."""

    @property
    def dropped(self) -> int:
        """Return the number of requests that were due but never sent."""
        return 0

    def new_connection(self) -> Connection:
        """Return a connection that is not open yet."""
        if self.plan.target.endpoint.http2:
            from toombos_cli.load.engine.http2 import Http2Connection

            return Http2Connection(self)
        return Connection(self)

    def pick(self) -> Tally:
        """Choose the next request of the mix, by weight."""
        tallies = self.recorder.tallies
        return tallies[0] if len(tallies) == 1 else self._random.choices(tallies, self._weights)[0]

    def open(self, tally: Tally, due: int) -> None:
        """Open a connection for the request and send it."""
        task = self.loop.create_task(self._open(tally, due))
        self.opening[task] = Opening(tally, due)
        task.add_done_callback(lambda done: self.opening.pop(done, None))

    async def connect(self) -> Connection:
        """Return a new connection to the target. Raise OSError (also TimeoutError and ssl.SSLError)."""
        connection = await self._connector.connect()
        self.connections.add(connection)
        self._http_versions.add(connection.http_version)
        self._most_connections = max(self._most_connections, len(self.connections))
        return connection

    async def _open(self, tally: Tally, due: int) -> None:
        began = clock()
        try:
            connection = await self.connect()
        except OSError as error:
            now = clock()
            failure = classify(error, "connect")
            tally.fail(failure, str(error) or type(error).__name__, now)
            if failure.error_class in CENSORED:
                tally.censor(due_ns=due, written_ns=0, now_ns=now)
            self.not_opened()
        else:
            tally.connected(clock() - began)
            if connection.ended is None:
                connection.send(tally, due)
                return
            self.connections.discard(connection)
            tally.fail(*connection.ended, clock())
            self.not_opened()

    def finish(self) -> None:
        """End the run: nothing is in flight."""
        if not self._finished.done():
            self.ended_ns = clock()
            self._finished.set_result(None)

    def interrupt(self, signal_number: int) -> None:
        """End the run now; record requests in flight as unfinished."""
        self.interrupted_by = signal_number
        if self._prepared:
            self.end_issue()
            self.give_up_rest()
        else:
            self.finish()

    def issue_ended(self, moment_ns: int) -> None:
        """Start the drain time for requests in flight; a second call has no effect."""
        if "drain" not in self._timers:
            if not self.sending_ended_ns:
                self.sending_over(moment_ns)
            self._later("drain", self.plan.drain_s, self.give_up_rest)

    def sending_over(self, moment_ns: int) -> None:
        """Note that the sending ended at this moment, and what was sent, received and used until now."""
        self.sending_ended_ns = moment_ns
        self.sent_in_time = self.issued
        self._cpu_sending_s = time.process_time() - self._cpu_s
        self.recorder.cut(clock(), sent=self.issued, inflight=self.inflight)
        self.recorder.mark_in_time()

    def give_up_rest(self) -> None:
        """Give up all requests in flight and end the run."""
        now = clock()
        for connection in list(self.connections):
            if connection.tally is not None:
                connection.give_up("unfinished", now)
        for task, opening in list(self.opening.items()):
            task.cancel()
            opening.tally.fail(RequestFailure("unfinished", "connect", ""), "not connected at the end of the run", now)
            opening.tally.censor(due_ns=opening.due, written_ns=0, now_ns=now)
        self.opening.clear()
        self.finish()

    # Timers that run beside the requests.

    def _later(self, name: str, delay_s: float, callback: Callable[[], None]) -> None:
        self._timers[name] = self.loop.call_later(max(0.0, delay_s), callback)

    def _stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        for connection in list(self.connections):
            connection.close()
        self.connections.clear()

    def _sweep(self) -> None:
        """Give up requests that timed out: one scan of all connections is cheaper than a timer for each."""
        self._later("sweep", _SWEEP_S, self._sweep)
        now = clock()
        oldest = now - int(self.plan.timeout_s * 1e9)
        for connection in list(self.connections):
            if connection.tally is not None and connection.written < oldest:
                connection.give_up("timeout", now)

    def _tick(self) -> None:
        now = clock()
        self._cuts += 1
        self.recorder.cut(now, sent=self.issued, inflight=self.inflight)
        if self._cuts % 5 == 0 and self._observer.on_snapshot is not None:
            self._observer.on_snapshot(
                snapshot(self.recorder, now, sent=self.issued, inflight=self.inflight, warming_up=not self._warm)
            )
        if self._cuts % 10 == 0:
            gc.collect()  # cheap: all objects from before the run are frozen
            if self._warm and self._observer.is_lost is not None:
                self.aborted = self._observer.is_lost(self._outcome(now))
            self.target_lost = self.has_lost_target(now)
            if self.aborted or self.target_lost:
                self.end_issue()
                self.give_up_rest()
                return
        self._later("tick", (FIRST_INTERVAL_NS - (now - self.recorder.origin_ns) % FIRST_INTERVAL_NS) / 1e9, self._tick)

    def beat(self, due_ns: int) -> None:
        """Measure the lag of the event loop every 10 ms, on an absolute schedule."""
        now = clock()
        while due_ns <= now:
            self.recorder.lag[histogram.bucket_of((now - due_ns) // 1000)] += 1
            due_ns += _HEARTBEAT_NS
        self._later("beat", (due_ns - now) / 1e9, lambda: self.beat(due_ns))

    def warmup_over(self, now_ns: int) -> None:
        """Start counting; requests sent before do not count, even if their responses come later."""
        self._warm = True
        self.recorder = Recorder(self.plan.endpoints, now_ns)
        self._cpu_s = time.process_time()
        self.end_warmup(self.recorder)
