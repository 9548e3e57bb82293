"""A service that is unhealthy is restarted if its manifest says so, like one that has crashed, or raises an alert."""

from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import System
from tests.support.runner import data_of
from tests.support.waiting import wait_for
from tests.unit.alerts.conftest import log_lines, wait_until_quiet
from toombos_cli.project.alert_spool import AlertDirectory

FAST = {"backoff_initial_s": 0.05, "backoff_max_s": 0.05}


def sick(system: System, *, restart: dict[str, Any] | None = None, **table: Any) -> Path:
    """Add a service that is unhealthy while the returned file holds another status than 200."""
    status = system.project / "status"
    system.add(
        "web",
        env={"STATUS_FILE": str(status)},
        probe_interval_s=0.1,
        restart=FAST | (restart or {}),
        **({"restart_when_unhealthy": True} | table),
    )
    return status


def test_an_unhealthy_service_is_restarted_and_the_history_says_why(system: System) -> None:
    status = sick(system)
    system("start", exit_code=0)
    before = system.pid("web")
    status.write_text("503")
    wait_for(lambda: system.state()["services"]["web"]["restarts"] == 1)
    status.unlink()
    wait_for(lambda: system.came_back("web"))
    assert system.pid("web") != before
    assert system.row("web")["last_end"]["reason"] == "unhealthy"
    found = data_of(system("events", "web", "--json"))["events"]
    assert [(event["event"], event["reason"]) for event in found][2:] == [
        ("stopped", "unhealthy"),
        ("restarted", "unhealthy"),
        ("ready", None),
    ]
    assert "503" in found[2]["why"]


def test_one_that_is_unhealthy_after_each_start_ends_in_a_crash_loop(system: System) -> None:
    status = system.project / "status"
    system.add(
        "web",
        env={"STATUS_FILE": str(status)},
        live="/live",
        ready={"command": ["true"]},
        probe_interval_s=0.4,
        restart_when_unhealthy=True,
        restart=FAST | {"crash_loop_count": 2, "crash_loop_window_s": 1.0},
    )
    system("start", exit_code=0)
    status.write_text("503")
    wait_for(lambda: system.phase("web") == "crash-loop", within_s=30)
    assert system.row("web")["restarts"] == 2


LEFT_RUNNING: dict[str, dict[str, Any]] = {
    "without the key": {"restart_when_unhealthy": False},
    "with the policy for exits alone": {"restart_when_unhealthy": False, "restart": {"policy": "on-failure"}},
}


@pytest.mark.parametrize("table", LEFT_RUNNING.values(), ids=LEFT_RUNNING)
def test_without_the_key_it_keeps_running(system: System, table: dict[str, Any]) -> None:
    status = sick(system, **table)
    system("start", exit_code=0)
    before = system.pid("web")
    status.write_text("503")
    wait_for(lambda: system.phase("web") == "unhealthy")
    status.unlink()
    wait_for(lambda: system.phase("web") == "ready")
    assert system.pid("web") == before
    found = [event["event"] for event in data_of(system("events", "web", "--json"))["events"]]
    assert found == ["started", "ready", "unhealthy", "recovered"]


def test_one_that_could_not_be_started_again_is_left_running(tmp_path: Path) -> None:
    """Its project was moved, and nothing is started at the old place."""
    (tmp_path / "old").mkdir()
    system = System(tmp_path / "old")
    status = tmp_path / "status"
    system.add("web", env={"STATUS_FILE": str(status)}, probe_interval_s=0.1, restart_when_unhealthy=True, restart=FAST)
    try:
        system("start", exit_code=0)
        system.project = system.project.rename(tmp_path / "new")
        before = system.pid("web")
        status.write_text("503")
        wait_for(lambda: system.phase("web") == "unhealthy")
        assert system.pid("web") == before
        status.unlink()
        wait_for(lambda: system.phase("web") == "ready")
        assert (system.pid("web"), system.row("web")["restarts"]) == (before, 0)
    finally:
        system.clean_up()


def test_the_loader_refuses_it_beside_the_policy_never(system: System) -> None:
    sick(system, restart={"policy": "never"})
    assert "restart_when_unhealthy is set" in system("start", exit_code=3).stderr


def test_an_unhealthy_service_raises_an_alert_and_its_recovery_resolves_it(system: System) -> None:
    status = sick(system, restart_when_unhealthy=False)
    system("start", exit_code=0)
    status.write_text("503")
    (raised,) = wait_for(lambda: log_lines(system.project, "unhealthy:web"), within_s=30, what="the alert")
    assert (raised["severity"], raised["message"]) == ("P1", "raised: web is unhealthy")
    status.unlink()
    wait_for(lambda: log_lines(system.project, "recovered: web"), within_s=30, what="the recovery")
    wait_until_quiet(system.project)
    assert AlertDirectory(system.project).log.exists()
