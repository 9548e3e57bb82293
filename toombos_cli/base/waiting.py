"""Work that must not keep its caller waiting for ever."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
_LOOK_S = 0.2


class OverdueError(Exception):
    """The work was not done in time."""


def run_within(work: Callable[[], T], timeout_s: float | None = None) -> T:
    """Returns what the work returns, or raises what it raises; OverdueError when that takes longer than `timeout_s`.

    The work is done in a thread, so a signal is heard although the work waits inside a library. Work that is overdue or
    interrupted is left behind, and ends with the process.
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
    while thread.is_alive():  # the system may give the signal to another thread: look for it now and then
        left_s = _LOOK_S if deadline is None else deadline - time.monotonic()
        if left_s <= 0:
            raise OverdueError(f"not done after {timeout_s:g} s")
        thread.join(min(left_s, _LOOK_S))
    return done.result()
