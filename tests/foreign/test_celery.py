"""Celery with Redis: a worker that is asked by its own program, ends its task before it stops, and loses its broker."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.databases import redis_cli, redis_server
from tests.support.foreign import UP, ForeignSystem, Keys, well
from tests.support.runner import data_of
from tests.support.waiting import wait_for

PROGRAM = Path(__file__).parent / "programs" / "mail.py"


def celery(*words: str) -> list[str]:
    """Return a command of Celery for the application."""
    return ["{python}", "-m", "celery", "-A", "mail", *words]


@pytest.fixture
def office(system: ForeignSystem) -> ForeignSystem:
    """A broker, a worker with two processes, and the clock that sends its periodic tasks."""
    shutil.copy(PROGRAM, system.project)
    port = system.add("broker", redis_server(), scheme="tcp", health={"command": redis_cli("ping")})
    broker = f"redis://127.0.0.1:{port}/0"
    keys: Keys = {"scheme": "none", "depends_on": ["broker"], "env": {"BROKER": broker}}
    ping = {"command": celery("inspect", "ping", "-d", "mail@here", "-t", "5"), "timeout_s": 20}
    work = celery("worker", "--concurrency", "2", "--hostname", "mail@here", "--loglevel", "INFO")
    system.add("mail", work, health=ping, probe_timeout_s=20, startup_timeout_s=60, grace_period_s=30, **keys)
    system.add("clock", celery("beat", "--schedule", "beat.db"), **keys)
    system.start()
    return system


def send(office: ForeignSystem, task: str, *args: object) -> None:
    """Put a task into the queue, as another program does."""
    ask = f"import mail; mail.{task}.delay(*{args!r})"
    env = os.environ | office.services["mail"]["env"]
    subprocess.run([sys.executable, "-c", ask], cwd=office.project, env=env, check=True)


def test_a_healthy_office_raises_no_alarm(office: ForeignSystem) -> None:
    assert {name: well(row) for name, row in office.health().items()} == dict.fromkeys(("broker", "mail", "clock"), UP)
    assert office.alarms() == []


def test_a_worker_ends_its_task_before_it_stops(office: ForeignSystem, tmp_path: Path) -> None:
    letter = tmp_path / "letter"
    send(office, "send", str(letter), 3)
    wait_for(letter.exists, within_s=20)
    assert letter.read_text() == "Dear"
    stopped = office("stop", "mail", exit_code=0)
    assert letter.read_text() == "Dear all"
    assert "killed" not in stopped.stdout + stopped.stderr


def test_a_worker_without_its_broker_is_down_and_the_broker_is_the_cause(office: ForeignSystem) -> None:
    office("stop", "broker", exit_code=0)
    rows = office.health("broker", "mail")
    assert rows["broker"]["status"] == rows["mail"]["status"] == "down"
    assert [(f["service"], f["id"]) for f in _roots(office)] == [("broker", "proc.missing")]


def test_an_application_that_cannot_be_imported_is_the_cause(office: ForeignSystem) -> None:
    office("stop", "mail", exit_code=0)
    (office.project / "mail.py").write_text("import celery_of_nobody\n")
    office("start", "mail", exit_code=4)
    (root,) = _roots(office)
    assert (root["service"], root["id"]) == ("mail", "log.missing_module")
    assert "celery_of_nobody" in root["reason"]


def test_a_worker_whose_main_process_was_killed_is_replaced_without_leftovers(office: ForeignSystem) -> None:
    killed = office.pid("mail")
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: office.pid("mail") not in (0, killed), within_s=30)
    wait_for(lambda: well(office.health("mail")["mail"]) == UP, within_s=60)
    office("stop", exit_code=0)
    left = [p for p in Path("/proc").glob("[0-9]*/cwd") if _is_at(p, office.project)]
    assert left == []


def _is_at(link: Path, directory: Path) -> bool:
    try:
        return link.readlink() == directory
    except OSError:
        return False


def _roots(office: ForeignSystem) -> list[Keys]:
    found = data_of(office("diagnose", "--json"))["findings"]
    return [f for f in found if f["verdict"] in ("fail", "warn") and not f["explained_by"] and f["id"] != "res.load"]
