"""The load engine: what closed and open loop have in common. One process, one event loop, one Outcome.

fleet.run_engine -> ClosedLoop | OpenLoop -> Connection -> Tally (counts) -> Recorder.cut -> Outcome
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
    """A request that waits for its connection."""

    tally: Tally
    due: int


class Engine(ABC):
    """Drives one plan over one event loop. Subclasses say when a request is sent."""

    def __init__(self, plan: LoadPlan, observer: LoadObserver) -> None:
        self.plan = plan
        self.keepalive = plan.keepalive
        self.loop = asyncio.get_running_loop()
        self.recorder = Recorder(plan.endpoints, clock())
        self.connections: set[Connection] = set()
        self.opening: dict[asyncio.Task[None], Opening] = {}
        self.sent_in_time = 0
        self.ended_ns = 0
        self.interrupted_by = 0
        self.aborted = False
        self.target_lost = False
        self._prepared = False
        self._finished: asyncio.Future[None] = self.loop.create_future()
        self._random = random.Random(plan.seed)  # noqa: S311  (which request comes next is no secret)
        self._weights = [endpoint.weight for endpoint in plan.endpoints]
        self._connector = Connector(plan, lambda: Connection(self))
        self._observer = observer
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._cuts = 0
        self._warm = plan.warmup_s == 0
        self._cpu_s = 0.0
        self._most_connections = 0

    # What a run is: prepare, then from the origin on until nothing is left to wait for.

    async def run(self, origin_ns: int | None = None) -> EngineResult:
        """Runs the plan; the first request is due at `origin_ns` (now, when None)."""
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
        """Return what was measured until the last cut."""
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
            ended_ns=now_ns,
            cpu_s=time.process_time() - self._cpu_s,
            connections=self._most_connections,
            interrupted_by=self.interrupted_by,
            aborted=self.aborted,
            target_lost=self.target_lost,
        )

    @abstractmethod
    async def prepare(self) -> None:
        """Does what must be ready before the first request."""

    @abstractmethod
    def begin(self, origin_ns: int) -> None:
        """Sends the first request, and arranges for the others."""

    @abstractmethod
    def idle(self, connection: Connection) -> None:
        """Gives a free connection its next request or lets it rest."""

    @abstractmethod
    def lost(self, connection: Connection) -> None:
        """A connection is gone and the request it had is counted."""

    def closed_at_rest(self, connection: Connection) -> None:
        """The peer closed a connection that had no request under way."""
        self.connections.discard(connection)

    @abstractmethod
    def not_opened(self) -> None:
        """A connection could not be opened; the request that it was for is counted."""

    @abstractmethod
    def end_warmup(self, recorder: Recorder) -> None:
        """Counts what is sent from now on with this recorder."""

    @abstractmethod
    def end_issue(self) -> None:
        """Issues no request any more; what is under way may end."""

    def has_lost_target(self, now_ns: int) -> bool:
        """Whether going on is vain: no answer has come for long, and nothing but answers would end the run."""
        return False

    @property
    @abstractmethod
    def issued(self) -> int:
        """How many requests were sent, or given a connection to be opened for them, since counting began."""

    @property
    @abstractmethod
    def inflight(self) -> int:
        """How many requests are sent or wait for a connection of their own."""

    @property
    def dropped(self) -> int:
        """How many requests were due but never sent."""
        return 0

    def pick(self) -> Tally:
        """The next request of the mix, by weight."""
        tallies = self.recorder.tallies
        return tallies[0] if len(tallies) == 1 else self._random.choices(tallies, self._weights)[0]

    def open(self, tally: Tally, due: int) -> None:
        """Sends the request over a connection of its own, to be opened first."""
        task = self.loop.create_task(self._open(tally, due))
        self.opening[task] = Opening(tally, due)
        task.add_done_callback(lambda done: self.opening.pop(done, None))

    async def connect(self) -> Connection:
        """A new connection to the target. Raises OSError, TimeoutError among them, and ssl.SSLError."""
        connection = await self._connector.connect()
        self.connections.add(connection)
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
            connection.send(tally, due)

    def finish(self) -> None:
        """Ends the run: nothing is under way."""
        if not self._finished.done():
            self.ended_ns = clock()
            self._finished.set_result(None)

    def interrupt(self, signal_number: int) -> None:
        """Ends the run now; what is under way is kept as unfinished."""
        self.interrupted_by = signal_number
        if self._prepared:
            self.end_issue()
            self.give_up_rest()
        else:
            self.finish()

    def issue_ended(self) -> None:
        """Bounds the wait for what is under way; called again, it changes nothing."""
        if "drain" not in self._timers:
            self.sent_in_time = self.issued
            self._later("drain", self.plan.drain_s, self.give_up_rest)

    def give_up_rest(self) -> None:
        """Gives up all that is under way, and ends the run."""
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

    # The clockwork beside the requests.

    def _later(self, name: str, delay_s: float, callback: Callable[[], None]) -> None:
        self._timers[name] = self.loop.call_later(max(0.0, delay_s), callback)

    def _stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        for connection in list(self.connections):
            connection.close()
        self.connections.clear()

    def _sweep(self) -> None:
        """Gives up requests that have waited too long: one look at all connections is cheaper than a timer each."""
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
            gc.collect()  # cheap: all from before the run is frozen
            if self._warm and self._observer.is_lost is not None:
                self.aborted = self._observer.is_lost(self._outcome(now))
            self.target_lost = self.has_lost_target(now)
            if self.aborted or self.target_lost:
                self.end_issue()
                self.give_up_rest()
                return
        self._later("tick", (FIRST_INTERVAL_NS - (now - self.recorder.origin_ns) % FIRST_INTERVAL_NS) / 1e9, self._tick)

    def beat(self, due_ns: int) -> None:
        """Measures how late the event loop comes to its work, every 10 ms of an absolute schedule."""
        now = clock()
        while due_ns <= now:
            self.recorder.lag[histogram.bucket_of((now - due_ns) // 1000)] += 1
            due_ns += _HEARTBEAT_NS
        self._later("beat", (due_ns - now) / 1e9, lambda: self.beat(due_ns))

    def warmup_over(self, now_ns: int) -> None:
        """Starts to count; what was sent before is forgotten even when it is answered later."""
        self._warm = True
        self.recorder = Recorder(self.plan.endpoints, now_ns)
        self._cpu_s = time.process_time()
        self.end_warmup(self.recorder)
