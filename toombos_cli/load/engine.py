"""The load engine: what closed and open loop have in common. One process, one event loop, one Outcome.

run_engine -> ClosedLoop | OpenLoop -> Connection -> Tally (counts) -> Recorder.cut -> Outcome
"""

import asyncio
import contextlib
import gc
import random
import socket
import ssl
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns as clock

from toombos_cli.load import histogram
from toombos_cli.load.connection import Connection
from toombos_cli.load.failures import classify
from toombos_cli.load.plan import LoadPlan
from toombos_cli.load.recorder import CENSORED, Failure, Outcome, Recorder, Tally
from toombos_cli.load.target import is_loopback
from toombos_cli.load.timeline import FIRST_INTERVAL_NS

_SWEEP_S = 0.05
_HEARTBEAT_NS = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """How a run stands: counts so far, and rate and latencies (µs) of about the last second."""

    elapsed_s: float
    warming_up: bool
    sent: int
    ok: int
    failed: int
    inflight: int
    rate_rps: float
    p50_us: int
    p99_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Who looks on: `on_snapshot` is called twice a second; when `is_lost` says so, the run ends early."""

    on_snapshot: Callable[[Snapshot], None] | None = None
    is_lost: Callable[[Outcome], bool] | None = None


@dataclass(slots=True)
class Opening:
    """A request that waits for its connection."""

    tally: Tally
    due: int


class Engine(ABC):
    """Drives one plan over one event loop. Subclasses say when a request is sent."""

    def __init__(self, plan: LoadPlan, observer: "Observer") -> None:
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
        self._prepared = False
        self._finished: asyncio.Future[None] = self.loop.create_future()
        self._random = random.Random(plan.seed)  # noqa: S311  (which request comes next is no secret)
        self._weights = [endpoint.weight for endpoint in plan.endpoints]
        self._ssl = tls_context(plan) if plan.target.scheme == "https" else None
        self._on_loopback = is_loopback(plan.target.address)
        self._observer = observer
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._cuts = 0
        self._warm = plan.warmup_s == 0
        self._cpu_s = 0.0
        self._most_connections = 0

    # What a run is: prepare, then from the origin on until nothing is left to wait for.

    async def run(self, origin_ns: int | None = None) -> Outcome:
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

    def _outcome(self, now_ns: int) -> Outcome:
        return self.recorder.outcome(
            scheduled=self.issued + self.dropped,
            dropped=self.dropped,
            sent_in_time=self.sent_in_time,
            ended_ns=now_ns,
            cpu_s=time.process_time() - self._cpu_s,
            connections=self._most_connections,
            interrupted_by=self.interrupted_by,
            aborted=self.aborted,
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
        return self._random.choices(self.recorder.tallies, self._weights)[0]

    def open(self, tally: Tally, due: int) -> None:
        """Sends the request over a connection of its own, to be opened first."""
        task = self.loop.create_task(self._open(tally, due))
        self.opening[task] = Opening(tally, due)
        task.add_done_callback(lambda done: self.opening.pop(done, None))

    async def connect(self) -> Connection:
        """A new connection to the target. Raises OSError, TimeoutError among them, and ssl.SSLError."""
        target = self.plan.target
        async with asyncio.timeout(self.plan.timeout_s):
            transport, connection = await self.loop.create_connection(
                lambda: Connection(self),
                target.address,
                target.port,
                ssl=self._ssl,
                server_hostname=target.host if self._ssl else None,
            )
        if self._on_loopback:
            _spare_congestion_control(transport)
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
        """Bounds the wait for what is under way."""
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
            opening.tally.fail(Failure("unfinished", "connect", ""), "not connected at the end of the run", now)
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
            self._observer.on_snapshot(self._snapshot(now))
        if self._cuts % 10 == 0:
            gc.collect()  # cheap: all from before the run is frozen
            if self._warm and self._observer.is_lost is not None and self._observer.is_lost(self._outcome(now)):
                self.aborted = True
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

    def _snapshot(self, now_ns: int) -> Snapshot:
        line = self.recorder.timeline
        window = line.intervals[-max(1, 1_000_000_000 // line.interval_ns) :]
        span_s = min(len(window) * line.interval_ns, now_ns - self.recorder.origin_ns) / 1e9
        p50, p99 = histogram.percentiles(histogram.merged(interval.response for interval in window), (50, 99))
        return Snapshot(
            elapsed_s=(now_ns - self.recorder.origin_ns) / 1e9,
            warming_up=not self._warm,
            sent=self.issued,
            ok=sum(interval.ok for interval in line.intervals),
            failed=sum(interval.err for interval in line.intervals),
            inflight=self.inflight,
            rate_rps=sum(interval.ok + interval.err for interval in window) / max(span_s, 1e-3),
            p50_us=p50,
            p99_us=p99,
        )


def _spare_congestion_control(transport: asyncio.BaseTransport) -> None:
    """Nothing congests loopback, and elaborate algorithms (BBR) cost client and server a hundredth of their time."""
    with contextlib.suppress(AttributeError, OSError):  # not on every system
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")


def tls_context(plan: LoadPlan) -> ssl.SSLContext:
    """The TLS settings towards the target; without `verify_tls`, any certificate is taken."""
    context = ssl.create_default_context()
    if not plan.target.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def run_engine(
    plan: LoadPlan,
    *,
    origin_ns: int | None = None,
    observer: Observer = Observer(),
    stop_signals: tuple[int, ...] = (),
) -> Outcome:
    """Runs the plan in this process. Each of `stop_signals` ends it with what was measured until then."""
    from toombos_cli.load.closed import ClosedLoop
    from toombos_cli.load.open import OpenLoop

    async def drive() -> Outcome:
        engine = (OpenLoop if plan.mode == "open" else ClosedLoop)(plan, observer)
        for number in stop_signals:
            engine.loop.add_signal_handler(number, engine.interrupt, number)
        return await engine.run(origin_ns)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        was_enabled = gc.isenabled()
        gc.collect()
        gc.freeze()
        gc.disable()  # a collection of a large heap would show up as latency; _tick collects what is young
        try:
            return runner.run(drive())
        finally:
            gc.unfreeze()
            if was_enabled:
                gc.enable()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
