"""Commands that die before the supervisor has done what they asked for."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import System
from tests.support.runner import TOOMBOS

INSIDE = """
import os, subprocess, sys, time
while not os.path.exists("go"):
    time.sleep(0.02)
os.remove("go")
subprocess.Popen(sys.argv[1:], start_new_session=True)
time.sleep(1000)
"""


def with_a_service_that_runs(system: System, *args: str) -> None:
    """Add a service that runs `toombos ARGS` from within once the file `go` exists, and one that depends on it."""
    system.project.joinpath("inside.py").write_text(INSIDE)
    command = ["{python}", "inside.py", *TOOMBOS, *args]
    system.add("hook", command=command, scheme="none", port=0, env={"PYTHONPATH": str(Path.cwd())})
    system.add("other", depends_on=["hook"])


@pytest.mark.parametrize("args", [("restart",), ("restart", "hook"), ("restart", "hook", "other")], ids=" ".join)
def test_a_restart_from_within_a_service_is_finished(
    system: System, eventually: Callable[..., None], args: tuple[str, ...]
) -> None:
    with_a_service_that_runs(system, *args)
    system("start", exit_code=0)
    before = system.pid("hook")
    (system.project / "go").touch()
    eventually(lambda: system.pid("hook") not in (0, before) and system.phase("hook") == "ready")
    eventually(lambda: system.phase("other") == "ready")
    assert system("status", exit_code=0).returncode == 0


def test_a_stop_from_within_a_service_stops_every_service(system: System, eventually: Callable[..., None]) -> None:
    with_a_service_that_runs(system, "stop")
    system.add("third", env={"IGNORE_TERM": "1"}, grace_period_s=1.0)
    system.add("hook", command=["{python}", "inside.py", *TOOMBOS, "stop"], scheme="none", port=0, depends_on=["third"])
    system("start", exit_code=0)
    (system.project / "go").touch()
    eventually(lambda: not system.tagged())
    assert "not running" in system("status").stdout


WAYS = {"Ctrl-C": (signal.SIGINT, 130), "SIGTERM": (signal.SIGTERM, 143), "a dropped connection": (signal.SIGHUP, -1)}


@pytest.mark.parametrize(("number", "code"), WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("args", [("restart",), ("restart", "slow"), ("stop",)], ids=" ".join)
def test_what_an_interrupted_command_asked_for_goes_on(
    system: System, eventually: Callable[..., None], args: tuple[str, ...], number: int, code: int
) -> None:
    """With exit code 130 or 143, the command says what goes on and how to see it; a closed terminal shows nothing."""
    system.add("slow", env={"START_DELAY_S": "1", "IGNORE_TERM": "1"}, grace_period_s=1.0)
    system.add("other", depends_on=["slow"])
    system("start", exit_code=0)
    before = system.pid("slow")
    command = system.begin(*args)
    eventually(lambda: system.phase("slow") == "stopping")
    command.send_signal(number)
    said = command.communicate(timeout=5)[1]
    assert command.returncode == code
    if number != signal.SIGHUP:
        assert f"note: a {args[0]} that has begun goes on in the supervisor" in said
        assert "hint: toombos status" in said
    if args[0] == "stop":
        eventually(lambda: not system.tagged())
    else:
        eventually(lambda: system.pid("slow") not in (0, before) and system.phase("slow") == "ready")
        eventually(lambda: system.phase("other") == "ready")
    assert "Traceback" not in (system.project / "run" / "supervisor.log").read_text()


def test_a_killed_restart_goes_on_too(system: System, eventually: Callable[..., None]) -> None:
    system.add("slow", env={"IGNORE_TERM": "1"}, grace_period_s=1.0)
    system("start", exit_code=0)
    before = system.pid("slow")
    command = system.begin("restart")
    eventually(lambda: system.phase("slow") == "stopping")
    command.kill()
    command.communicate()
    eventually(lambda: system.pid("slow") not in (0, before) and system.phase("slow") == "ready")
