"""Runs a plan in this process: its event loop, its signals, and a heap that stays out of the way."""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Coroutine

from toombos_cli.load.engine.closed import ClosedLoop
from toombos_cli.load.engine.open import OpenLoop
from toombos_cli.load.engine.recorder import Outcome
from toombos_cli.load.observer import NOBODY, Observer
from toombos_cli.load.plan import LoadPlan


def run_engine(
    plan: LoadPlan,
    *,
    origin_ns: int | None = None,
    observer: Observer = NOBODY,
    stop_signals: tuple[int, ...] = (),
) -> Outcome:
    """Runs the plan in this process. Each of `stop_signals` ends it with what was measured until then."""

    async def drive() -> Outcome:
        engine = (OpenLoop if plan.mode == "open" else ClosedLoop)(plan, observer)
        for number in stop_signals:
            engine.loop.add_signal_handler(number, engine.interrupt, number)
        return await engine.run(origin_ns)

    handlers = {number: signal.getsignal(number) for number in stop_signals}
    try:
        return _run(drive)
    finally:
        for number, handler in handlers.items():  # uvloop leaves its own, which does nothing once the loop is closed
            signal.signal(number, handler)


def _run(drive: Callable[[], Coroutine[None, None, Outcome]]) -> Outcome:
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
