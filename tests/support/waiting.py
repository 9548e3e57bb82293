"""Waiting for a condition, with a deadline, and how long threads have waited for a CPU."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T], *, within_s: float = 15.0, what: str = "the condition") -> T:
    """Return the first truthy result of `condition`, or raise AssertionError at the deadline."""
    deadline = time.monotonic() + within_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not become true within {within_s:g} s")
        time.sleep(0.005)


def waited_for_cpu(*tasks: str) -> float:
    """Return the seconds in which these tasks, such as `12/task/34`, were ready but had no CPU."""
    return sum(int(Path("/proc", task, "schedstat").read_text().split()[1]) for task in tasks) / 1e9
