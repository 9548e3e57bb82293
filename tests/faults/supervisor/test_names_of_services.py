"""Names of services that are also names of toombos's own files."""

from collections.abc import Callable

import pytest

from tests.faults.conftest import System
from tests.support.runner import run_toombos
from toombos_cli.project.state import RunDirectory

NAMES = (
    "supervisor", "backup", "smoke", "recover", "restore", "state", "sender", "services", "monitoring",
    "profiles", "state.json", "supervisor.sock", "request-key", "x", "x.lock", "x.rotation", "x.rotation-lock",
)  # fmt: skip


def test_services_with_the_names_of_own_files_run_beside_every_command(system: System) -> None:
    for name in NAMES:
        system.add(f'"{name}"', command=["sleep", "600"], scheme="none", port=0)
    (system.project / "data").mkdir()
    (system.project / "data" / "file").write_text("content")
    system("start", exit_code=0)
    assert {row["name"]: row["phase"] for row in system.status()["services"]} == dict.fromkeys(NAMES, "ready")
    for command in ("backup", "smoke", "restart", "recover"):
        done = system(command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    system.kill_supervisor()
    system("start", exit_code=0)
    assert {row["name"]: row["phase"] for row in system.status()["services"]} == dict.fromkeys(NAMES, "ready")
    system("stop", exit_code=0)
    assert system.tagged() == {}


TABLES = {
    "[services.alerts]": "logs/alerts.log is the log of the alerts",
    "[services.health-check]": "logs/health-check.log is the log of `health --log`",
    "[services.schedule]": "logs/schedule.log is the log of the scheduled jobs",
    '[services.x]\nlog = "logs/alerts.log"': "logs/alerts.log is the log of the alerts",
    '[services.x]\nlog = "./logs/../logs/schedule.log"': "logs/schedule.log is the log of the scheduled jobs",
}


@pytest.mark.parametrize(("table", "text"), TABLES.items())
def test_a_service_that_would_write_into_a_log_of_toombos_is_refused(system: System, table: str, text: str) -> None:
    manifest = f'{table}\ncommand = ["sleep", "600"]\nscheme = "none"\n'
    (system.project / "toombos.toml").write_text(manifest)
    said = system("config", "check", exit_code=3).stderr
    assert f"log: {text}" in said
    assert 'hint: log = "logs/' in said


def test_what_an_earlier_version_left_running_is_taken_over(system: System, eventually: Callable[..., None]) -> None:
    """Version 1.0 kept a service's lock and the record of its log's rotations in run/ itself."""
    system.add("s", command=["sleep", "600"], scheme="none", port=0)
    system("start", exit_code=0)
    pid, run = system.pid("s"), system.project / "run"
    record = RunDirectory(system.project).rotation(system.log("s"))
    eventually(record.exists)
    system.kill_supervisor()
    content = record.read_bytes()
    for path in (run / "services").iterdir():
        path.rename(run / f"s{path.suffix}")
    (run / "services").rmdir()
    assert "taken over" in run_toombos("start", cwd=system.project).stderr
    assert system.pid("s") == pid
    eventually(record.exists)
    assert record.read_bytes() == content
    assert not (run / "s.rotation").exists()
