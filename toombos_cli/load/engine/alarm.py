"""Wake the event loop at a moment of the monotonic clock; the loop's own timers have a resolution of milliseconds.

On Linux timerfd(2) is used: only the scheduler delays the wake-up, by some 50 µs. Elsewhere the loop's timer is used.
"""

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from time import perf_counter_ns as clock

_CLOCK_MONOTONIC = 1  # what perf_counter_ns() reads on Linux
_TFD_TIMER_ABSTIME = 1


class _TimerSpec(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "at_s", "at_ns")]


class Alarm:
    """An alarm that calls `callback` once for each `set`, at that moment or as soon as possible after it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._fd: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
            if fd >= 0:
                self._fd = fd
                self._spec = _TimerSpec()
                loop.add_reader(fd, self._ring)

    def set(self, at_ns: int) -> None:
        """Set the alarm, replacing an earlier one that has not rung."""
        if self._fd is not None:
            self._spec.at_s, self._spec.at_ns = divmod(max(1, at_ns), 1_000_000_000)
            self._libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(self._spec), None)
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(max(0.0, (at_ns - clock()) / 1e9), self._callback)

    def _ring(self) -> None:
        assert self._fd is not None  # noqa: S101  (it rang)
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # set again since it rang
            return
        self._callback()

    def close(self) -> None:
        """Release the timer; the callback is not called any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None
