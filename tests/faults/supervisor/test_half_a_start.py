"""A start of which one service fails."""

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import System

FAILS: dict[str, dict[str, Any]] = {
    "answers 500": {"env": {"STATUS_FILE": "500"}, "startup_timeout_s": 1.0},
    "ends": {"env": {"EXIT_CODE": "1"}},
    "never listens": {"env": {"START_DELAY_S": "60"}, "startup_timeout_s": 1.0},
}


@pytest.fixture
def five(system: System) -> System:
    """Two services that work, one that will be made to fail, and two that depend on it, one of them indirectly."""
    (system.project / "500").write_text("500")
    system.add("first")
    system.add("broken")
    system.add("last")
    system.add("app", depends_on=["broken"])
    system.add("web", depends_on=["app", "first"])
    return system


@pytest.mark.parametrize("verb", ["start", "restart"])
@pytest.mark.parametrize("how", FAILS.values(), ids=[f"it {how}" for how in FAILS])
def test_what_became_ready_stays_and_dependents_are_not_started(five: System, verb: str, how: dict[str, Any]) -> None:
    five.add("broken", **how)
    done = five(verb, exit_code=4)
    assert done.stdout.startswith("not started: broken\n")
    assert "error: broken: " in done.stderr
    assert "note: not started either, because they depend on it: app, web" in done.stderr
    assert "note: left running: first, last; to stop them: toombos stop first last" in done.stderr
    phases = {row["name"]: row["phase"] for row in five.status()["services"]}
    stopped = dict.fromkeys(("app", "web"), "stopped")
    assert phases == {"first": "ready", "last": "ready", "broken": "failed"} | stopped
    assert five.answer("first") == five.pid("first")
    five.add("broken")
    five("start", exit_code=0)
    assert five("status", exit_code=0).returncode == 0


def test_json_says_what_was_left_and_what_was_skipped(five: System) -> None:
    five.add("broken", **FAILS["ends"])
    document = json.loads(five("start", "--json", exit_code=4).stdout)
    data = document["data"]
    assert (document["verdict"], document["exit_code"]) == ("error", 4)
    assert (sorted(data["started"]), sorted(data["skipped"])) == (["first", "last"], ["app", "web"])
    assert [failure["service"] for failure in data["failures"]] == ["broken"]


@pytest.mark.parametrize("how", FAILS.values(), ids=[f"it {how}" for how in FAILS])
def test_all_or_nothing_stops_everything_that_the_start_has_started(five: System, how: dict[str, Any]) -> None:
    five("start", "last", exit_code=0)
    five.add("broken", **how)
    done = five("start", "--all-or-nothing", exit_code=4)
    assert "left running" not in done.stderr
    assert set(five.tagged()) == {five.pid("last")}


def test_nothing_is_started_if_a_port_is_taken(five: System) -> None:
    with socket.create_server(("127.0.0.1", five.ports["broken"])):
        done = five("start", exit_code=4)
    assert "is taken by" in done.stderr
    assert five.tagged() == {}


def test_a_service_that_refuses_its_configuration_stops_all_that_was_started(five: System) -> None:
    five.add("broken", env={"EXIT_CODE": "78"}, exit_codes_of_invalid_configuration=[78])
    five("start", exit_code=3)
    assert five.tagged() == {}


def test_a_timeout_of_the_whole_start_stops_only_what_is_not_ready(five: System) -> None:
    five.add("broken", env={"START_DELAY_S": "60"})
    done = five("start", "--timeout", "2", exit_code=4)
    assert "not ready after 2 s" in done.stderr
    phases = {row["name"]: row["phase"] for row in five.status()["services"]}
    assert {name for name, phase in phases.items() if phase == "ready"} == {"first", "last"}
    assert set(five.tagged()) == {five.pid("first"), five.pid("last")}


def test_a_service_that_ends_during_the_start_is_left_to_the_supervisor(
    five: System, eventually: Callable[..., None], tmp_path: Path
) -> None:
    """It was ready, so its restarts go on; its dependents that were not begun by then are not started."""
    script = f"[ -e {tmp_path}/once ] && exec sleep 600; touch {tmp_path}/once; sleep 1.3; exit 1"
    five.add("broken", command=["sh", "-c", script], scheme="none", port=0)
    five.add("app", env={"START_DELAY_S": "2"}, depends_on=["broken"])
    done = five("start", exit_code=4)
    assert "error: broken: its process ended with exit code 1" in done.stderr
    assert "because they depend on it: web" in done.stderr
    eventually(lambda: five.came_back("broken"))
    assert five.answer("app") == five.pid("app")


def test_a_service_that_was_well_answers_again_at_once(system: System, eventually: Callable[..., None]) -> None:
    import os
    import signal

    system.add("crm")
    system("start", exit_code=0)
    os.kill(system.pid("crm"), signal.SIGKILL)
    began = time.monotonic()
    eventually(lambda: system.came_back("crm"))
    assert time.monotonic() - began < 2.0, "with a pause it takes half a second more than the program itself"
    assert system.row("crm")["restarts"] == 1
