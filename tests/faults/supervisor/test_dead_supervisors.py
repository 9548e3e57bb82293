"""A supervisor that died is replaced by the scheduled `start --adopt`, which does nothing else; `start --same-mode`."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.runner import data_of, run_toombos
from tests.support.waiting import wait_for
from toombos_cli import processes

MANIFEST = """
[services.a]
command = ["sleep", "600"]
scheme = "none"

[services.b]
command = ["sleep", "600"]
scheme = "none"
depends_on = { a = "started" }

[services.extra]
command = ["sleep", "600"]
scheme = "none"

[services.fails]
command = ["false"]
scheme = "none"
optional = true

[modes.dry_run]
env = {}

[modes.loud]
env = { VOLUME = "11" }

[schedule.supervision]
command = ["start", "--adopt"]
every_minutes = 5
"""


@pytest.fixture
def system(tmp_path: Path) -> Iterator[Path]:
    """A project in which `a` and `b` were started in the mode loud."""
    (tmp_path / "toombos.toml").write_text(MANIFEST)
    assert run_toombos("start", "--mode", "loud", "b", cwd=tmp_path).returncode == 0
    yield tmp_path
    run_toombos("stop", cwd=tmp_path)


def status(project: Path) -> dict[str, Any]:
    return data_of(run_toombos("status", "--json", cwd=project))


def pids(project: Path) -> dict[str, int]:
    return {row["name"]: row["pid"] for row in status(project)["services"] if row["pid"]}


def kill_supervisor(project: Path) -> None:
    pid = status(project)["supervisor"]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not status(project)["supervisor"]["alive"])


def run_job(project: Path) -> int:
    return run_toombos("schedule", "run", "supervision", cwd=project).returncode


def test_the_job_replaces_a_dead_supervisor_and_starts_what_has_ended_since(system):
    before = pids(system)
    kill_supervisor(system)
    os.kill(before["b"], signal.SIGKILL)

    assert run_job(system) == 0

    after, found = pids(system), status(system)
    assert (found["supervisor"]["alive"], found["mode"]) == (True, "loud")
    assert after["a"] == before["a"]
    assert after["b"] != before["b"]
    assert after.keys() == {"a", "b"}


def test_it_does_nothing_while_the_supervisor_runs(system):
    before = status(system)

    done = run_toombos("start", "--adopt", "--json", cwd=system)

    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (0, "skip")
    assert "no supervisor has died" in done.stdout
    assert (status(system)["supervisor"], pids(system)) == (
        before["supervisor"],
        {row["name"]: row["pid"] for row in before["services"] if row["pid"]},
    )


def _stop(project: Path) -> None:
    assert run_toombos("stop", cwd=project).returncode == 0


def _fail(project: Path) -> None:
    _stop(project)
    assert run_toombos("start", "fails", cwd=project).returncode == 4


def _boot(project: Path) -> None:
    """Make it look as if the machine had been started again since."""
    kill_supervisor(project)
    state = project / "run" / "state.json"
    document = json.loads(state.read_bytes())
    for entry in document["services"].values():
        if entry["pid"]:
            os.kill(entry["pid"], signal.SIGKILL)
    document["boot_id"] = "another"
    state.write_text(json.dumps(document))


def _forget(project: Path) -> None:
    _stop(project)
    (project / "run" / "state.json").unlink()


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(_stop, id="everything was stopped"),
        pytest.param(_fail, id="everything has failed"),
        pytest.param(_boot, id="the machine was started again"),
        pytest.param(_forget, id="nothing is recorded"),
    ],
)
def test_it_does_nothing_if(system, event):
    event(system)

    assert run_job(system) == 0

    assert (pids(system), status(system)["supervisor"]["alive"]) == ({}, False)


def test_a_supervisor_that_does_not_respond_is_not_replaced(system):
    pid = status(system)["supervisor"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        done = run_toombos("start", "--adopt", cwd=system)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert done.returncode == 4
    assert processes.command_line(pid)


def test_a_start_in_the_same_mode_is_one_in_the_mode_of_the_last_start(system):
    _stop(system)

    assert run_toombos("start", "--same-mode", cwd=system).returncode == 0

    assert (status(system)["mode"], pids(system).keys()) == ("loud", {"a", "b", "extra"})


def test_a_first_start_in_the_same_mode_is_dry_if_there_is_that_mode(tmp_path):
    (tmp_path / "toombos.toml").write_text(MANIFEST)

    shown = data_of(run_toombos("start", "--same-mode", "--preview", "--json", cwd=tmp_path))

    assert shown["mode"] == "dry_run"


def test_a_mode_that_is_gone_is_not_replaced_by_another(system):
    _stop(system)
    (system / "toombos.toml").write_text(MANIFEST.replace("[modes.loud]", "[modes.louder]"))

    done = run_toombos("start", "--same-mode", cwd=system)

    assert (done.returncode, "has no mode loud" in done.stderr, pids(system)) == (3, True, {})


@pytest.mark.parametrize("other", [("--mode", "loud"), ("--dry-run",)])
def test_the_same_mode_excludes_another(tmp_path, other):
    (tmp_path / "toombos.toml").write_text(MANIFEST)

    assert run_toombos("start", "--same-mode", *other, cwd=tmp_path).returncode == 2
