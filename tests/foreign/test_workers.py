"""A worker of rq, which listens on no port: it is well if it consumes, not if it merely runs."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.databases import redis_cli, redis_server
from tests.support.foreign import UP, ForeignSystem, Keys, well
from tests.support.runner import data_of
from tests.support.waiting import wait_for

PROGRAM = Path(__file__).parent / "programs" / "consumes.py"


def worker(port: int, queue: str) -> list[str]:
    """Return the command of a worker that forks no process for each job."""
    url = f"redis://127.0.0.1:{port}"
    return ["{python}", "-m", "rq.cli", "worker", "--url", url, "-w", "rq.worker.SimpleWorker", queue]


def consumes(port: int, queue: str) -> Keys:
    """Return the health of a queue."""
    return {"command": ["{python}", PROGRAM.name, str(port), queue], "timeout_s": 5}


@pytest.fixture(scope="module")
def workers(shared: ForeignSystem) -> ForeignSystem:
    """Redis, a worker that consumes the queue of mails, and one that runs but consumes another queue."""
    shutil.copy(PROGRAM, shared.project)
    port = shared.add("queue", redis_server(), scheme="tcp", health={"command": redis_cli("ping")})
    work = {"scheme": "none", "depends_on": ["queue"]}
    shared.add("mailer", worker(port, "mails"), health=consumes(port, "mails"), **work)
    shared.add("idler", worker(port, "faxes"), **work)
    shared.start()
    shared.change("idler", health=consumes(port, "letters"))
    return shared


def test_a_worker_that_consumes_raises_no_alarm(workers: ForeignSystem) -> None:
    rows = workers.health("queue", "mailer")
    assert {name: well(row) for name, row in rows.items()} == {"queue": UP, "mailer": UP}
    shown = data_of(workers("status", "queue", "mailer", "--json", exit_code=0))["services"]
    assert {row["phase"] for row in shown} == {"ready"}


def test_a_worker_that_runs_and_consumes_nothing_is_down(workers: ForeignSystem) -> None:
    row = workers.health("idler")["idler"]
    assert row["status"] == "down"
    assert "nobody took a job from the queue letters" in row["detail"]


def test_start_waits_until_a_worker_consumes(workers: ForeignSystem) -> None:
    port = int(workers.services["queue"]["port"])
    workers.add("late", worker(port, "late"), scheme="none", health=consumes(port, "late"), startup_timeout_s=20)
    workers.start("late")
    assert well(workers.health("late")["late"]) == UP


def test_a_suspended_worker_is_down(workers: ForeignSystem) -> None:
    os.kill(workers.pid("mailer"), signal.SIGSTOP)
    try:
        assert workers.health("mailer")["mailer"]["status"] == "down"
    finally:
        os.kill(workers.pid("mailer"), signal.SIGCONT)
    assert well(workers.health("mailer")["mailer"]) == UP


def test_a_worker_without_its_queue_is_down_and_points_to_it(workers: ForeignSystem) -> None:
    workers("stop", "queue")
    try:
        rows = workers.health("queue", "mailer")
        assert rows["queue"]["status"] == rows["mailer"]["status"] == "down"
    finally:
        workers.start("queue")
    wait_for(lambda: well(workers.health("mailer")["mailer"]) == UP, within_s=30)  # it connects again, with pauses
