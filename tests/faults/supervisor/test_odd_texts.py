"""A service, or a file of the project, says something odd: no command crashes, and the others keep their verdicts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import System
from tests.support.odd_texts import ODD_TEXTS
from tests.support.runner import data_of
from toombos_cli.project.state import RunDirectory

ODD = Path(__file__).parents[1] / "services" / "odd.py"
STEPS = """
[[smoke]]
name = "odd"
service = "odd"
path = "/ready"
json = { ready = true }
capture = { first = "checks[0]" }
counters = [{ service = "odd", path = "/metrics", metric = "requests_total", rises_by = 0 }]
[[smoke]]
name = "odd-counter"
service = "well"
path = "/ready"
counters = [{ service = "odd", path = "/ready", json = "status", rises_by = 0 }]
[[smoke]]
name = "well"
service = "well"
path = "/ready"
json = { ready = true }
"""
CODES = {"status": {0, 1}, "health": {0, 1}, "smoke": {1, 4}, "diagnose": {0, 1, 4}, "logs": {0}, "stop": {0}}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Two running services, of which `odd` will say odd things."""
    system = System(tmp_path_factory.mktemp("odd"))
    routes = {"ready": "/ready", "metrics": "/metrics", "openapi": "/openapi.json"}
    system.top = STEPS
    for name in ("well", "odd"):
        system.add(
            name,
            command=["{python}", "-P", str(ODD)],
            env={"PORT": "{port}", "ODD": str(system.project / f"{name}.txt")},
            **routes,
        )
    system("start", exit_code=0)
    yield system
    system.clean_up()


def asked(system: System, command: str) -> dict[str, Any]:
    """Return the data of a command that ended as documented, without a trace of a crash."""
    done = system(command, "--json")
    assert done.returncode in CODES[command], done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert "Error at " not in done.stdout, "the bug of a check or a fact"
    return data_of(done)


def row(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(service for service in found["services"] if service["name"] == name)


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_an_odd_response_and_log_line_of_one_service_do_not_cost_the_verdict_on_another(running: System, text: bytes):
    (running.project / "odd.txt").write_bytes(text)
    try:
        assert row(asked(running, "health"), "well")["status"] == "up"
        assert row(asked(running, "status"), "well")["phase"] == "ready"
        assert {step["name"]: step["verdict"] for step in asked(running, "smoke")["steps"]}["well"] == "pass"
        findings = asked(running, "diagnose")["findings"]
    finally:
        (running.project / "odd.txt").unlink()
    assert [f for f in findings if f["verdict"] == "error"] == []
    assert [f for f in findings if f["verdict"] == "fail" and f["service"] == "well"] == []
    assert any(f["service"] == "well" and f["verdict"] == "pass" for f in findings)


FILES = (
    "run/state.json",
    "run/state.json.bak",
    "run/alerts/ledger.json",
    "run/schedule/installed",
    "run/schedule/health.json",
    "backups/catalogue.json",
    "run/restore.json",
    "logs/odd.log",
)
READERS = (
    ("status", "--json"),
    ("health", "--json"),
    ("diagnose", "--json"),
    ("logs", "-n", "5"),
    ("alert", "status"),
    ("backup", "status"),
    ("schedule", "show"),
    ("stop", "--json"),
)
STATE = {
    "a pid beyond any": '"supervisor_pid": 99999999999999999999',
    "a pid below 0": '"supervisor_pid": -1',
    "a start in the year 10000": '"started_at": 1e300',
    "a start before any": '"started_at": -1e300',
}
LEDGER = (
    b'{"incidents": {"x": {"severity": "P1", "title": "t", "first_at": 1e300, "last_at": -1e300, "told_at": 1e300}}}'
)
RECORD = b'{"started_at": 1e300, "installed_at": 1e300, "method": "cron"}'


def read_by_all(system: System, files: dict[str, bytes]) -> None:
    """Write the files and run every reader, none of which may crash."""
    for name, content in files.items():
        path = system.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for args in READERS:
        done = system(*args)
        assert done.returncode in (0, 1, 4, 5), (args, done.stderr + done.stdout)
        assert "Traceback" not in done.stderr, args
        assert "Error at " not in done.stdout, args


@pytest.fixture
def stopped(system: System) -> System:
    """A project in which nothing has run."""
    system.add("odd")
    system.top = '[schedule.health]\ncommand = ["health"]\nevery_minutes = 5\n'
    system.write()
    return system


SOME = ("a hundred thousand open brackets", "a lone surrogate", "a whole number of 5000 digits", "a list", "nothing")


@pytest.mark.parametrize("text", [ODD_TEXTS[name] for name in SOME], ids=SOME)
def test_no_command_crashes_although_every_file_of_its_own_holds_an_odd_text(stopped: System, text: bytes):
    record = RunDirectory(stopped.project).rotation(stopped.log("odd"))
    read_by_all(stopped, dict.fromkeys((*FILES, f"run/services/{record.name}"), text))


@pytest.mark.parametrize("member", STATE.values(), ids=STATE)
def test_no_command_crashes_on_a_well_formed_file_with(stopped: System, member: str):
    state = {
        "boot_id": "b",
        "pid_namespace": 1,
        "supervisor_pid": 1,
        "supervisor_start_ticks": 1,
        "dry_run": False,
        "mode": None,
        "started_at": 1.0,
        "env_file": {"path": "", "mtime_ns": 0, "sha256": ""},
        "services": {},
    }
    text = json.dumps(state | json.loads(f"{{{member}}}")).encode()
    ledgers = {"run/alerts/ledger.json": LEDGER, "run/schedule/installed": RECORD, "run/schedule/health.json": RECORD}
    read_by_all(stopped, {"run/state.json": text, "run/state.json.bak": text} | ledgers)
