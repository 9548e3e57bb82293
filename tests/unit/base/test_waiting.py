"""Work that hangs does not keep its caller."""

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
    print("begun", flush=True)
    threading.Event().wait()
run_within(work, {timeout})
"""


def test_what_the_work_returns_is_returned_and_what_it_raises_is_raised() -> None:
    assert run_within(lambda: 42, 10) == 42
    assert run_within(lambda: 42) == 42
    with pytest.raises(TimeoutError, match="its own"):
        run_within(lambda: (_ for _ in ()).throw(TimeoutError("its own")), 10)


def test_work_that_is_overdue_is_left_behind() -> None:
    begun, never = time.monotonic(), threading.Event()
    with pytest.raises(OverdueError, match=r"not done after 0\.2 s"):
        run_within(never.wait, 0.2)
    assert time.monotonic() - begun < 5
    never.set()


@pytest.mark.parametrize("timeout", ["None", "60"])
def test_an_interrupt_is_heard_while_the_work_hangs(timeout: str) -> None:
    argv = [sys.executable, "-c", _HUNG.format(timeout=timeout)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in said
