"""Ends a computation in time, such as a search for a regular expression that others wrote."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_AGAIN_S = 0.1
"""A library that swallowed the first exception meets the next."""


class TimeIsUpError(Exception):
    """A computation took longer than it may."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TimeIsUpError in the block once it has taken so long.

    It works by a signal, which also ends a search in C code, but reaches the main thread alone: in another thread there
    is no limit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler, started = signal.signal(signal.SIGALRM, _end), time.monotonic()
    due_s, _ = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if due_s:  # an alarm that another set
            signal.setitimer(signal.ITIMER_REAL, max(due_s - (time.monotonic() - started), 0.001))


def _end(number: int, frame: FrameType | None) -> None:
    raise TimeIsUpError
