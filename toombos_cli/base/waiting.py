"""Runs work with a time limit."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
_LOOK_S = 0.2


class OverdueError(Exception):
    """The work did not finish in time."""


def run_within(work: Callable[[], T], timeout_s: float | None = None) -> T:
    """Return what the work returns or raise what it raises; raise OverdueError after `timeout_s`.

    The work runs in a thread, so that signals are handled even while it waits inside a library. Overdue or interrupted
    work keeps running until the process ends.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    thread.start()
    while thread.is_alive():  # the system may deliver a signal to another thread: check for it at intervals
        left_s = _LOOK_S if deadline is None else deadline - time.monotonic()
        if left_s <= 0:
            raise OverdueError(f"not done after {timeout_s:g} s")
        thread.join(min(left_s, _LOOK_S))
    return done.result()
