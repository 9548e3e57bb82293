"""After a crash of the supervisor: what still runs is found, reported alike by every command, and not started again."""

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.runner import Toombos, data_of
from tests.support.waiting import wait_for
from toombos_cli import processes

WORKER = {"command": ["sleep", "600"], "port": 0, "scheme": "none"}


def state_files(run: Path) -> list[Path]:
    return list(run.glob("state.json*"))


def keep(run: Path) -> None:
    """Leave it as the supervisor left it."""


def damage(run: Path) -> None:
    for path in state_files(run):
        path.write_bytes(path.read_bytes()[:100])


def remove_the_state(run: Path) -> None:
    for path in state_files(run):
        path.unlink()


def make_another_version(run: Path) -> None:
    for path in state_files(run):
        path.write_text(json.dumps(json.loads(path.read_bytes()) | {"services": [1, 2]}))


LOSSES = {
    "the state is there": keep,
    "run/ was removed": shutil.rmtree,
    "the state is damaged": damage,
    "the state was removed": remove_the_state,
    "the state is of another version": make_another_version,
}
losses = pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)


@pytest.fixture
def abandoned(system: Any) -> Callable[..., dict[str, int]]:
    """Start a server and a worker, kill their supervisor, lose the state, and return the pids."""
    system.add("web", startup_timeout_s=30.0)
    system.add("worker", **WORKER)

    def abandon(lose: Callable[[Path], None]) -> dict[str, int]:
        system("start", exit_code=0)
        pids = {name: system.pid(name) for name in ("web", "worker")}
        system.kill_supervisor()
        lose(system.project / "run")
        return pids

    return abandon


@losses
def test_every_command_finds_the_same_processes(system: Any, abandoned: Any, lose: Any) -> None:
    pids = abandoned(lose)
    shown = system("status", "--json", exit_code=1)
    assert {row["name"]: (row["phase"], row["pid"]) for row in data_of(shown)["services"]} == {
        name: ("unsupervised", pid) for name, pid in pids.items()
    }
    health = data_of(system("health", "--json", exit_code=0))["services"]
    assert [(s["reason"], s["pid"]) for s in health] == [("ok", pid) for pid in pids.values()]
    (finding,) = data_of(system("diagnose", "--json", "--only", "proc.supervision"))["findings"]
    assert finding["reason"] == "no supervisor watches web, worker"
    stopped = system("stop", "--json", exit_code=0)
    assert {(row["service"], row["pid"]) for row in data_of(stopped)["ended"]} == set(pids.items())
    assert system.tagged() == {}
    assert system("stop", exit_code=0).stdout.splitlines()[0] == "nothing is running"
    assert "not running" in system("status", exit_code=1).stdout


@losses
def test_start_adopts_them(system: Any, abandoned: Any, lose: Any) -> None:
    pids = abandoned(lose)
    system("start", exit_code=0)
    assert {row["name"]: (row["phase"], row["pid"]) for row in system.status()["services"]} == {
        name: ("ready", pid) for name, pid in pids.items()
    }
    assert sorted(system.tagged()) == sorted(pids.values())


@losses
def test_restart_replaces_them(system: Any, abandoned: Any, lose: Any) -> None:
    pids = abandoned(lose)
    system("restart", exit_code=0)
    assert len(system.tagged()) == 2
    assert not system.tagged().keys() & set(pids.values())


@losses
def test_a_stop_of_one_service_reports_it_and_leaves_the_other(system: Any, abandoned: Any, lose: Any) -> None:
    pids = abandoned(lose)
    assert system("stop", "worker", exit_code=0).stdout.splitlines()[0] == f"stopped: worker (pid {pids['worker']})"
    assert list(system.tagged()) == [pids["web"]]
    assert (system.row("web")["phase"], system.row("web")["pid"]) == ("ready", pids["web"])


@pytest.mark.parametrize("lose", [LOSSES["run/ was removed"]], ids=["run/ was removed"])
def test_stop_works_without_state_and_manifest(system: Any, abandoned: Any, lose: Any) -> None:
    pids = abandoned(lose)
    (system.project / "toombos.toml").write_text("[services.web")
    shown = system("status")
    assert str(pids["web"]) in shown.stdout
    assert f"web (pid {pids['web']})" in system("stop", exit_code=0).stdout
    assert system.tagged() == {}


def test_a_dry_run_system_without_a_state_is_not_joined_in_live_mode(toombos: Toombos, project: Path) -> None:
    assert toombos("start", "--dry-run").returncode == 0
    before = data_of(toombos("status", "--json"))
    os.kill(before["supervisor"]["pid"], signal.SIGKILL)
    wait_for(lambda: processes.identify(before["supervisor"]["pid"]) is None)
    shutil.rmtree(project / "run")
    assert "live" not in toombos("status").stdout
    started = toombos("start", "--json")
    assert started.returncode == 0, started.stdout
    after = data_of(started)
    assert (after["mode"], after["dry_run"]) == ("dry_run", True)
    assert [row["pid"] for row in after["services"]] == [row["pid"] for row in before["services"]]


@pytest.mark.parametrize("lose", [damage, remove_the_state], ids=["damaged", "removed"])
def test_a_stop_of_one_service_does_not_forget_the_mode_if_the_state_is_lost(
    toombos: Toombos, project: Path, lose: Callable[[Path], None]
) -> None:
    assert toombos("start", "--dry-run").returncode == 0
    lose(project / "run")
    assert toombos("stop", "platform").returncode == 0
    assert data_of(toombos("status", "--json"))["mode"] == "dry_run"
    assert toombos("start", "--dry-run").returncode == 0


def test_another_user_cannot_judge_a_worker_that_status_cannot_see(
    system: Any, as_another_user: Toombos, project: Path
) -> None:
    """`health` of a service without a port needs the state, which only its own user may read."""
    assert project == system.project
    system.add("worker", **WORKER)
    system("start", exit_code=0)
    assert as_another_user("status").returncode == 4
    checked = as_another_user("health", "--json")
    (service,) = data_of(checked)["services"]
    assert (checked.returncode, service["verdict"], service["reason"]) == (4, "error", "error")
    assert "Permission denied" in service["detail"]
    assert "0 up, 1 not judged" in as_another_user("health").stdout


class Sick:
    """A service that was ready, lost its supervisor, and is not ready now."""

    def __init__(self, system: Any, tmp_path: Path) -> None:
        self.system = system
        self.status = tmp_path / "status"
        self.pid = 0

    def start(self, how: str, lose: Callable[[Path], None] = keep) -> None:
        self.system("start", exit_code=0)
        self.pid = self.system.pid("web")
        if how == "hangs":
            os.kill(self.pid, signal.SIGSTOP)
        else:
            self.status.write_text("503")
        self.system.kill_supervisor()
        row = processes.read_row(self.pid)
        assert row is not None
        wait_for(lambda: processes.age_s(row.start_ticks) > 1.0)  # its start-up timeout
        lose(self.system.project / "run")

    def recover(self) -> None:
        self.status.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGCONT)


@pytest.fixture
def sick(system: Any, tmp_path: Path) -> Sick:
    made = Sick(system, tmp_path)
    system.add(
        "web",
        env={"STATUS_FILE": str(made.status)},
        startup_timeout_s=1.0,
        probe_interval_s=0.1,
        probe_timeout_s=0.5,
        restart={"backoff_initial_s": 0.05},
    )
    return made


@losses
@pytest.mark.parametrize("how", ["returns 503", "hangs"])
def test_a_service_that_was_ready_once_is_unhealthy_and_keeps_running(sick: Sick, how: str, lose: Any) -> None:
    sick.start(how, lose)
    began = time.monotonic()
    started = sick.system("start", "--json", exit_code=4)
    assert time.monotonic() - began < 10
    (row,) = data_of(started)["services"]
    assert (row["phase"], row["pid"], row["restarts"]) == ("unhealthy", sick.pid, 0)
    assert data_of(started)["started"] == []
    assert sick.system.row("web")["phase"] == "unhealthy"

    sick.recover()
    wait_for(lambda: sick.system.phase("web") == "ready")
    assert sick.system.pid("web") == sick.pid
    again = sick.system("start", exit_code=0)
    assert again.stdout.startswith("already running")


def test_start_reports_an_unhealthy_service_alike_before_and_after_the_crash(sick: Sick) -> None:
    sick.system("start", exit_code=0)
    sick.status.write_text("503")
    wait_for(lambda: sick.system.phase("web") == "unhealthy")
    before = sick.system("start", exit_code=4)
    sick.system.kill_supervisor()
    after = sick.system("start", exit_code=4)
    assert after.stdout.splitlines()[0] == before.stdout.splitlines()[0] == "not ready: web"
    assert [line for line in after.stderr.splitlines() if "note" not in line] == before.stderr.splitlines()


def test_an_unhealthy_adopted_service_that_exits_is_restarted(sick: Sick) -> None:
    sick.start("returns 503")
    sick.system("start", exit_code=4)
    sick.status.unlink()
    os.kill(sick.pid, signal.SIGKILL)
    wait_for(lambda: sick.system.came_back("web"))


def test_a_service_that_died_before_the_adoption_is_started_anew(sick: Sick) -> None:
    sick.start("hangs")
    os.kill(sick.pid, signal.SIGKILL)
    wait_for(lambda: processes.identify(sick.pid) is None)
    started = sick.system("start", exit_code=0)
    assert started.stdout.startswith("started: web")
    assert sick.system.row("web")["restarts"] == 0


@pytest.mark.parametrize(
    ("delay_s", "exit_code", "phase"), [(3, 0, "ready"), (600, 4, "failed")], ids=["it becomes ready", "it does not"]
)
def test_a_start_that_lost_its_supervisor_is_waited_for_within_the_timeout(
    system: Any, delay_s: int, exit_code: int, phase: str
) -> None:
    system.add("web", env={"START_DELAY_S": str(delay_s)}, startup_timeout_s=6.0)
    start = system.begin("start")
    pid = next(iter(wait_for(lambda: system.tagged(), within_s=20)))
    wait_for(lambda: system.pid("web") == pid)
    system.kill_supervisor()
    start.communicate(timeout=30)
    system("start", exit_code=exit_code)
    assert system.phase("web") == phase
    assert system.pid("web") == (pid if exit_code == 0 else 0)


def test_the_packaged_generator_survives_a_start_on_a_full_disk(toombos: Toombos, project: Path) -> None:
    from tests.faults.supervisor.test_places import small_disk

    with small_disk(project / "data", 2048):
        assert toombos("start", "--dry-run").returncode == 0
        before = data_of(toombos("status", "--json"))
        generator = next(row for row in before["services"] if row["name"] == "generator")
        with contextlib.suppress(OSError), (project / "data" / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(b"x" * 4096)
        _preview(generator["port"], expected=503)
        os.kill(before["supervisor"]["pid"], signal.SIGKILL)
        wait_for(lambda: processes.identify(before["supervisor"]["pid"]) is None)
        started = data_of(toombos("start", "--dry-run", "--json"))
        row = next(row for row in started["services"] if row["name"] == "generator")
        assert (row["phase"], row["pid"], row["restarts"]) == ("unhealthy", generator["pid"], 0)
        (project / "data" / "ballast").unlink()
        _preview(generator["port"], expected=200)
        wait_for(lambda: toombos("status").returncode == 0, within_s=30)
        assert toombos("stop").returncode == 0


def _preview(port: int, *, expected: int) -> None:
    import httpx

    url = f"http://127.0.0.1:{port}/api/v2/generate-content"
    wait_for(lambda: httpx.post(url, json={"preview_only": True}, timeout=30).status_code == expected, within_s=30)
