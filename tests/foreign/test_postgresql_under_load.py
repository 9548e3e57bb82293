"""A backup of a PostgreSQL's own directory while pgbench writes to it brings back every account and equal sums."""

import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.databases import as_postgres, postgres_program
from tests.support.foreign import ForeignSystem
from tests.support.runner import data_of
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

SUMS = (
    "SELECT (SELECT count(*) FROM pgbench_accounts), (SELECT sum(abalance) FROM pgbench_accounts) = ALL (ARRAY["
    "(SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(tbalance) FROM pgbench_tellers),"
    "(SELECT sum(delta) FROM pgbench_history)]), (SELECT count(*) > 0 FROM pgbench_history)"
)


class Bank:
    """A system whose service `db` is a PostgreSQL in `data/pg` with the 500,000 accounts of pgbench."""

    def __init__(self, project: Path) -> None:
        self.system, data = ForeignSystem(project), project / "data" / "pg"
        data.mkdir(parents=True)
        become = as_postgres(data)
        subprocess.run(
            [*become, postgres_program("initdb"), "-D", str(data), "-A", "trust", "-U", "postgres"],
            check=True,
            capture_output=True,
            cwd="/",
        )
        command = [*become, postgres_program("postgres"), "-D", "{project}/data/pg", "-p", "{port}", "-k", ""]
        port = self.system.add("db", [*command, "-h", "127.0.0.1"], scheme="tcp", startup_timeout_s=60)
        self.place = ["-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]
        self.system.start()
        wait_for(lambda: subprocess.run([postgres_program("pg_isready"), *self.place], check=False).returncode == 0)
        self.bench("-i", "-s", "5", "-q")

    def bench(self, *options: str) -> None:
        argv = [postgres_program("pgbench"), *self.place, *options, "postgres"]
        subprocess.run(argv, check=True, capture_output=True, cwd="/")

    def sql(self, statement: str) -> str:
        argv = [postgres_program("psql"), "-XAtq", *self.place, "-d", "postgres", "-c", statement]
        return subprocess.run(argv, check=True, capture_output=True, text=True, cwd="/").stdout.strip()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Let four clients write for the block, with a checkpoint every 0.3 s."""
        argv = [postgres_program("pgbench"), *self.place, "-c", "4", "-T", "600", "postgres"]
        done = threading.Event()

        def checkpoints() -> None:
            while not done.wait(0.3):
                self.sql("CHECKPOINT")

        thread = threading.Thread(target=checkpoints)
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/") as clients:
            thread.start()
            try:
                wait_for(lambda: self.sql("SELECT count(*) > 100 FROM pgbench_history") == "t")
                yield
            finally:
                done.set()
                thread.join()
                clients.terminate()


@pytest.fixture
def bank() -> Iterator[Bank]:
    project = Path(tempfile.mkdtemp(prefix="bank-"))
    project.chmod(0o755)
    made = Bank(project)
    try:
        yield made
    finally:
        made.system.stop()
        shutil.rmtree(project, ignore_errors=True)


@pytest.mark.parametrize("run", range(5))
def test_every_account_comes_back_with_equal_sums(run: int, bank: Bank) -> None:
    with bank.busy():
        report = data_of(bank.system("backup", "--json", exit_code=0))
    assert (report["known_good"], report["unreadable"]) == (True, [])
    bank.system("backup", "drill", exit_code=0)
    bank.sql("DELETE FROM pgbench_accounts WHERE aid % 2 = 0")
    bank.system("restore", "--latest-good", "--yes", exit_code=0)
    assert bank.sql(SUMS) == "500000|t|t"
