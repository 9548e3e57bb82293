"""Run a plan in this process, or divided among several that start at the same moment.

Each process has its own event loop and signal handlers, and a frozen heap that the collector skips.
"""

import asyncio
import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from time import perf_counter_ns as clock

from toombos_cli.base.errors import OperationError
from toombos_cli.load.engine.closed import ClosedLoop
from toombos_cli.load.engine.open import OpenLoop
from toombos_cli.load.engine.recorder import EngineResult
from toombos_cli.load.observer import NOBODY, LoadObserver, Snapshot, summed
from toombos_cli.load.plan import LoadPlan

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_HEAD_START_NS = 300_000_000  # time for the processes to start and open their connections


def run_plan(plan: LoadPlan, observer: LoadObserver) -> EngineResult:
    """Run the plan and return what was measured; SIGINT and SIGTERM end it early and keep the figures so far.

    Raise OperationError if a process of the fleet dies.
    """
    if plan.processes == 1:
        return run_engine(plan, observer=observer, stop_signals=_STOP_SIGNALS)
    origin = clock() + _HEAD_START_NS
    context = multiprocessing.get_context("fork")  # cheap: nothing is imported again
    members = []
    for share in plan.shares():
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_member, args=(share, origin, theirs, mine, observer), daemon=True)
        process.start()
        theirs.close()
        members.append(_Member(process.pid or 0, mine))
    try:
        return _gather(members, observer.on_snapshot)
    finally:
        for member in members:
            member.pipe.close()
        for child in multiprocessing.active_children():
            if child.pid in {member.pid for member in members}:
                child.join(timeout=2)


def run_engine(
    plan: LoadPlan,
    *,
    origin_ns: int | None = None,
    observer: LoadObserver = NOBODY,
    stop_signals: tuple[int, ...] = (),
) -> EngineResult:
    """Run the plan in this process. Each of `stop_signals` ends it early and keeps the figures so far."""

    async def drive() -> EngineResult:
        engine = _loop_for(plan)(plan, observer)
        for number in stop_signals:
            engine.loop.add_signal_handler(number, engine.interrupt, number)
        return await engine.run(origin_ns)

    handlers = {number: signal.getsignal(number) for number in stop_signals}
    try:
        return _run(drive)
    finally:
        for number, handler in handlers.items():  # uvloop leaves its own handlers, which do nothing after the loop
            signal.signal(number, handler)


def _loop_for(plan: LoadPlan) -> type[OpenLoop] | type[ClosedLoop]:
    if plan.users is None:
        return OpenLoop if plan.mode == "open" else ClosedLoop
    from toombos_cli.load.engine.scripted import ScriptedClosedLoop, ScriptedOpenLoop

    return ScriptedOpenLoop if plan.mode == "open" else ScriptedClosedLoop


def _run(drive: Callable[[], Coroutine[None, None, EngineResult]]) -> EngineResult:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        was_enabled = gc.isenabled()
        gc.collect()
        gc.freeze()
        gc.disable()  # collecting a large heap would show up as latency; _tick collects the young objects
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


@dataclass(slots=True)
class _Member:
    pid: int
    pipe: "Connection[object, object]"
    snapshot: Snapshot | None = None
    outcome: EngineResult | None = None


def _member(
    plan: LoadPlan,
    origin_ns: int,
    pipe: "Connection[object, object]",
    parents: "Connection[object, object]",
    observer: LoadObserver,
) -> None:
    """Run one process of the fleet. The parent passes Ctrl-C on, so that every process gets it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parents.close()  # inherited: while it is open here, the parent's death goes unnoticed
    parent = os.getppid()

    def is_lost(outcome: EngineResult) -> bool:
        """Report True once the parent is gone (no load without it), else what the observer reports."""
        return os.getppid() != parent or (observer.is_lost is not None and observer.is_lost(outcome))

    own = LoadObserver(on_snapshot=pipe.send if observer.on_snapshot else None, is_lost=is_lost)
    pipe.send(run_engine(plan, origin_ns=origin_ns, observer=own, stop_signals=(signal.SIGTERM,)))


def _gather(members: list[_Member], on_snapshot: Callable[[Snapshot], None] | None) -> EngineResult:
    """Wait for all results and merge them. Pass signals to this process on to all members."""
    received: list[int] = []

    def pass_on(number: int, _frame: object) -> None:
        received.append(number)
        for member in members:
            if member.outcome is None:
                os.kill(member.pid, signal.SIGTERM)

    before = {number: signal.signal(number, pass_on) for number in _STOP_SIGNALS}
    try:
        while waiting := [m for m in members if m.outcome is None]:
            ready = wait([m.pipe for m in waiting])
            for member in waiting:
                if member.pipe in ready:
                    _receive(member)
            if on_snapshot is not None and all(m.snapshot for m in members):
                on_snapshot(summed(m.snapshot for m in members if m.snapshot))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    outcome = EngineResult.merged(m.outcome for m in members if m.outcome)
    outcome.interrupted_by = received[0] if received else 0
    return outcome


def _receive(member: _Member) -> None:
    try:
        message = member.pipe.recv()
    except EOFError:
        raise OperationError(f"a process of the load generator (pid {member.pid}) died") from None
    if isinstance(message, Snapshot):
        member.snapshot = message
    elif isinstance(message, EngineResult):
        member.outcome = message
