"""Commands report a hanging supervisor with its pid and the next command, and wait for a slow one."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from toombos_cli import processes

NEVER_ACCEPTS = """
import fcntl, socket, sys, time
lock = open("run/supervisor.lock", "a")
fcntl.flock(lock, fcntl.LOCK_EX)
door = socket.socket(socket.AF_UNIX)
door.bind("run/supervisor.sock")
door.listen()
print("listens", flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def suspended(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("command", ["status", "start", "stop", "restart"])
def test_a_supervisor_that_does_not_respond_is_reported_without_a_long_wait(system: Any, command: str) -> None:
    system.add("crm")
    system("start", exit_code=0)
    service, supervisor = system.pid("crm"), system.state()["supervisor_pid"]
    with suspended(supervisor):
        began = time.monotonic()
        failed = system(command, "--json", exit_code=4)
        assert time.monotonic() - began < 20
        (error,) = json.loads(failed.stdout)["errors"]
        assert "has not responded" in error["message"]
        assert f"suspended (pid {supervisor})" in error["message"]
        assert error["hint"] == f"kill -CONT {supervisor}"
        assert system.answer("crm") == service, "the service must keep running"
    assert system.row("crm")["pid"] == service or command in ("stop", "restart")


def test_a_command_does_not_hang_if_the_socket_queue_is_full(system: Any) -> None:
    """A hundred unanswered commands fill the queue, and then connect() blocks."""
    system.add("crm")
    system("start", exit_code=0)
    with suspended(system.state()["supervisor_pid"]):
        with contextlib.suppress(BlockingIOError):
            while True:
                visitor = socket.socket(socket.AF_UNIX)
                visitor.setblocking(False)
                with visitor:
                    visitor.connect(str(system.project / "run" / "supervisor.sock"))
        assert "has not responded" in system("status", exit_code=4).stderr
    assert system("status", exit_code=0).returncode == 0


def test_the_error_for_a_hanging_supervisor_suggests_kill_but_does_not_kill_it(system: Any) -> None:
    system.add("crm")
    system("start", exit_code=0)
    service = system.pid("crm")
    system.kill_supervisor()
    (system.project / "run" / "supervisor.sock").unlink()
    hanging = subprocess.Popen(
        [sys.executable, "-c", NEVER_ACCEPTS], cwd=system.project, stdout=subprocess.PIPE, text=True
    )
    try:
        assert hanging.stdout is not None
        assert hanging.stdout.readline() == "listens\n"
        _claim(system.project, os.getpid())
        assert "kill" not in system("stop", exit_code=4).stderr, "a state file alone does not name a supervisor"
        _claim(system.project, hanging.pid)
        failed = system("stop", exit_code=4)
        assert f"it hangs (pid {hanging.pid})" in failed.stderr
        assert f"hint: kill -KILL {hanging.pid} && toombos status" in failed.stderr
        assert hanging.poll() is None
    finally:
        hanging.kill()
        hanging.communicate()
    assert "UNSUPERVISED" in system("status", exit_code=1).stdout
    system("start", exit_code=0)
    assert system.pid("crm") == service


def test_recover_kills_no_process_that_only_the_state_calls_a_supervisor(system: Any) -> None:
    system.add("crm")
    system("start", exit_code=0)
    system("stop", exit_code=0)
    with (
        subprocess.Popen([sys.executable, "-c", NEVER_ACCEPTS], cwd=system.project, stdout=subprocess.PIPE) as hanging,
        subprocess.Popen(["sleep", "600"]) as victim,
    ):
        try:
            assert hanging.stdout is not None
            assert hanging.stdout.readline() == b"listens\n"
            _claim(system.project, victim.pid)
            system("recover", exit_code=4)
            assert victim.poll() is None
        finally:
            hanging.kill()
            victim.kill()


def test_a_stop_may_take_longer_than_the_response_timeout_of_the_supervisor(system: Any) -> None:
    system.add("crm", env={"IGNORE_TERM": "1"}, grace_period_s=6.5)
    system("start", exit_code=0)
    stopped = system("stop", exit_code=0)
    assert "stopped: crm" in stopped.stdout
    assert system.tagged() == {}


def _claim(project: Path, pid: int) -> None:
    """Record this process as the supervisor in the state file."""
    identity = processes.identify(pid)
    assert identity is not None
    path = project / "run" / "state.json"
    state = json.loads(path.read_bytes())
    state |= {"supervisor_pid": pid, "supervisor_start_ticks": identity.start_ticks}
    path.write_text(json.dumps(state))
