"""A project whose directory is renamed, replaced or removed while its services run."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import System
from toombos_cli import processes


class Moving(System):
    """A project below the test's directory, which may be moved to another place there."""

    def move(self, name: str) -> Path:
        """Rename the directory; return where it was."""
        old = self.project
        self.project = old.rename(old.with_name(name))
        return old


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[Moving]:
    (tmp_path / "p").mkdir()
    made = Moving(tmp_path / "p")
    made.add("app")
    made.add("other")
    yield made
    made.clean_up()


def supervisor_is_gone(pid: int) -> Callable[[], bool]:
    return lambda: processes.identify(pid) is None


@pytest.mark.parametrize("verb", [("stop",), ("stop", "app", "other")], ids=" ".join)
def test_a_stop_from_the_new_place_stops_what_runs_and_nothing_comes_back(
    moving: Moving, eventually: Callable[..., None], verb: tuple[str, ...]
) -> None:
    moving("start", exit_code=0)
    supervisor, pids = int(moving.state()["supervisor_pid"]), [moving.pid("app"), moving.pid("other")]
    old = moving.move("p2")
    assert "stopped: app" in moving(*verb, exit_code=0).stdout
    eventually(supervisor_is_gone(supervisor))
    assert all(processes.identify(pid) is None for pid in pids)
    assert not any(processes.listeners_at("127.0.0.1", port) for port in moving.ports.values())
    assert not old.exists()


def test_a_service_that_ends_after_a_rename_is_not_restarted_and_status_says_why(
    moving: Moving, eventually: Callable[..., None]
) -> None:
    moving("start", exit_code=0)
    old = moving.move("p2")
    os.kill(moving.pid("app"), signal.SIGKILL)
    eventually(lambda: moving.phase("app") == "failed")
    shown = moving("status", exit_code=1)
    assert f"not restarted: the project was moved to {moving.project}" in shown.stdout
    assert f"the project was moved from {old}" in shown.stderr
    assert f"toombos --project {moving.project} restart" in shown.stderr
    assert not processes.listeners_at("127.0.0.1", moving.ports["app"])
    assert moving.answer("other") == moving.pid("other")
    assert not old.exists()


def test_the_logs_of_a_moved_project_are_kept_at_its_new_place(moving: Moving, eventually: Callable[..., None]) -> None:
    moving.top = "[logs]\nmax_mb = 1\nkeep = 100\n"
    flood = Path(__file__).parent.parent / "services" / "flood.py"
    moving.add("app", command=["{python}", "-P", str(flood)], env={"COUNT": "400000", "RATE_MB_S": "3"})
    moving("start", exit_code=0)
    archives = lambda: len(list((moving.project / "logs").glob("app.log.2*")))  # noqa: E731  (asked again and again)
    eventually(lambda: archives() > 0)
    old, before = moving.move("p2"), archives()
    eventually(lambda: archives() > before + 1, within_s=30)
    assert len(list((moving.project / "run" / "services").glob("app.log-*.rotation"))) == 1
    os.kill(moving.pid("app"), signal.SIGKILL)
    eventually(lambda: moving.phase("app") == "failed")
    assert all(line.startswith("line ") for line in moving.row("app")["last_lines"])  # none directly after a rotation
    assert not old.exists()


def test_a_restart_from_the_new_place_runs_there(moving: Moving, eventually: Callable[..., None]) -> None:
    moving("start", exit_code=0)
    old = moving.move("p2")
    moving("restart", exit_code=0)
    shown = moving("status", exit_code=0)
    assert "was moved" not in shown.stderr
    assert Path(f"/proc/{moving.pid('app')}/cwd").readlink() == moving.project
    os.kill(moving.pid("app"), signal.SIGKILL)
    eventually(lambda: moving.came_back("app"))
    assert not old.exists()


@pytest.mark.parametrize("verb", ["restart", "stop"])
def test_a_deploy_by_rename_leaves_one_system(moving: Moving, eventually: Callable[..., None], verb: str) -> None:
    moving("start", exit_code=0)
    supervisor = int(moving.state()["supervisor_pid"])
    old = moving.move("p.old")
    shutil.copytree(moving.project, old, ignore=shutil.ignore_patterns("run", "logs"))
    moving.project = old
    moving(verb, exit_code=0)
    eventually(supervisor_is_gone(supervisor))
    if verb == "stop":
        assert not any(processes.listeners_at("127.0.0.1", port) for port in moving.ports.values())
    else:
        assert {name: moving.answer(name) for name in moving.ports} == {n: moving.pid(n) for n in moving.ports}
        assert moving("status", exit_code=0).returncode == 0
        assert Path(f"/proc/{moving.pid('app')}/cwd").readlink() == old


def test_a_removed_project_is_not_created_again(moving: Moving, eventually: Callable[..., None]) -> None:
    moving("start", exit_code=0)
    supervisor, pids = int(moving.state()["supervisor_pid"]), [moving.pid("app"), moving.pid("other")]
    shutil.rmtree(moving.project)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    eventually(supervisor_is_gone(supervisor))
    assert not moving.project.exists()
    assert not any(processes.listeners_at("127.0.0.1", port) for port in moving.ports.values())
    moving.project.mkdir()
