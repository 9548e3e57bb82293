"""A function that hangs does not block its caller."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from toombos_cli.base.waiting import OverdueError, run_within

_HUNG = """
import os, threading
from toombos_cli.base.waiting import run_within
def work():
    print("started", flush=True)
    threading.Event().wait()
run_within(work, {timeout})
"""


def test_the_result_is_returned_and_the_exception_is_raised() -> None:
    assert run_within(lambda: 42, 10) == 42
    assert run_within(lambda: 42) == 42
    with pytest.raises(TimeoutError, match="its own"):
        run_within(lambda: (_ for _ in ()).throw(TimeoutError("its own")), 10)


def test_the_caller_continues_if_the_work_is_overdue() -> None:
    started, never = time.monotonic(), threading.Event()
    with pytest.raises(OverdueError, match=r"not done after 0\.2 s"):
        run_within(never.wait, 0.2)
    assert time.monotonic() - started < 5
    never.set()


@pytest.mark.parametrize("timeout", ["None", "60"])
def test_an_interrupt_ends_the_wait_for_hanging_work(timeout: str) -> None:
    argv = [sys.executable, "-c", _HUNG.format(timeout=timeout)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        os.kill(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in stderr
