"""An upgrade while the system runs: command and supervisor have different versions and read each other's state."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

import toombos_cli

HERE = Path(toombos_cli.__file__).parent


def copy_of_toombos(place: Path) -> Path:
    package = place / "toombos_cli"
    shutil.copytree(HERE, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


@pytest.fixture
def newer(tmp_path: Path) -> dict[str, str]:
    """The environment in which `toombos` is a newer version that has one more service key."""
    package = copy_of_toombos(tmp_path / "newer")
    model = package / "manifest" / "tables" / "service.py"
    known = "    openapi: str | None = None\n"
    text = model.read_text()
    assert known in text
    model.write_text(text.replace(known, f"{known}    colour: str = 'grey'\n"))
    return {"PYTHONPATH": str(package.parent)}


def test_a_newer_command_works_with_the_running_supervisor(pair: Any, newer: dict[str, str]) -> None:
    pair("start", exit_code=0)
    pid = pair.pid("crm")
    again = pair("start", exit_code=0, env=newer)
    assert "already running" in again.stdout
    assert again.stderr == "", "an upgrade must not count as a configuration change"
    assert pair.pid("crm") == pid
    pair("status", exit_code=0, env=newer)
    pair("restart", "crm", exit_code=0, env=newer)
    pair("stop", "crm", exit_code=0, env=newer)


def test_a_key_that_the_running_supervisor_does_not_know_is_refused_with_a_hint(
    pair: Any, newer: dict[str, str]
) -> None:
    pair("start", exit_code=0)
    pid = pair.pid("crm")
    pair.add("crm", colour="red")
    refused = pair("restart", exit_code=4, env=newer)
    assert "the running supervisor has a different version" in refused.stderr
    assert "`colour`" in refused.stderr
    assert "hint: toombos stop && toombos restart" in refused.stderr
    assert pair.answer("crm") == pid
    pair("stop", exit_code=0, env=newer)
    pair("start", exit_code=0, env=newer)


def test_an_older_command_reads_the_state_of_a_newer_one(pair: Any, newer: dict[str, str]) -> None:
    pair("start", exit_code=0, env=newer)
    pid = pair.pid("crm")
    pair("status", exit_code=0)
    pair.kill_supervisor()
    assert "UNSUPERVISED" in pair("status", exit_code=1).stdout
    pair("start", exit_code=0)
    assert pair.pid("crm") == pid, "the service must be adopted, not started again"


def test_a_supervisor_keeps_working_after_its_files_were_replaced(system: Any, eventually: Any, tmp_path: Path) -> None:
    """An upgrade replaces the files, so the supervisor must have loaded all its modules before."""
    package = copy_of_toombos(tmp_path / "older")
    system.add("crm", restart={"backoff_initial_s": 0.01, "crash_loop_count": 1})
    system("start", exit_code=0, env={"PYTHONPATH": str(package.parent)})
    eventually(lambda: list((system.project / "run" / "services").glob("crm.log-*.rotation")))
    for module in package.rglob("*.py"):
        module.write_text("raise ImportError('of another version')\n")
    os.kill(system.pid("crm"), signal.SIGKILL)
    eventually(lambda: system.came_back("crm"))
    os.kill(system.pid("crm"), signal.SIGKILL)
    eventually(lambda: system.phase("crm") == "crash-loop")
    row = system.row("crm")
    assert (row["phase"], row["last_lines"]) == ("crash-loop", ["hello from web"])
    assert "Error" not in (system.project / "run" / "supervisor.log").read_text()
    system("stop", exit_code=0)
