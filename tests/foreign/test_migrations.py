"""PostgreSQL, a migration as a task, and what needs its tables: Django's own command, and psql."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.foreign import django_shop
from tests.support.databases import postgres_cluster, postgres_program
from tests.support.foreign import UP, ForeignSystem, well
from tests.support.runner import data_of
from tests.support.waiting import wait_for

READS = (
    "while {psql} 'select count(*) from orders' >/dev/null; do sleep 0.1; done; echo 'orders cannot be read'; exit 1"
)


def psql(statement: str, *options: str) -> list[str]:
    """Return the command that runs a statement on the service `db`."""
    place = ["-h", "{services.db.host}", "-p", "{services.db.port}", "-U", "shop", "-d", "postgres"]
    return [postgres_program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", *place, *options, "-c", statement]


@pytest.fixture
def migrated(system: ForeignSystem) -> Iterator[ForeignSystem]:
    """PostgreSQL, a migration from a file, and a reader that ends if there is no table."""
    with postgres_cluster() as postgres:
        system.add("db", postgres, scheme="tcp", stop_signal="INT")
        (system.project / "sql").mkdir()
        (system.project / "sql" / "1.sql").write_text("create table if not exists orders (id int);")
        files = ["-f", "sql/1.sql"]
        task = {"kind": "task", "run": "changed", "inputs": ["sql"], "depends_on": ["db"]}
        system.services["migrate"] = {"command": [*psql("select 1")[:-2], *files], **task}
        query = " ".join(psql("")[:-1])
        system.services["reader"] = {
            "command": ["sh", "-c", READS.replace("{psql}", query)],
            "scheme": "none",
            "depends_on": {"migrate": "completed", "db": {"when": "ready", "restart": True}},
            "restart": {"policy": "never"},
        }
        system.write()
        yield system
        system.stop()


def test_a_reader_starts_after_the_migration_and_again_with_a_new_database(migrated: ForeignSystem) -> None:
    migrated.start()
    health = {name: well(row) for name, row in migrated.health().items()}
    assert health == {"db": UP, "migrate": ("done", "ok"), "reader": UP}
    assert migrated.alarms() == []
    first = migrated.pid("reader")
    os.kill(migrated.pid("db"), signal.SIGKILL)
    wait_for(lambda: migrated.pid("reader") not in (0, first), within_s=30)
    wait_for(lambda: migrated("status").returncode == 0, within_s=30)


def test_a_broken_migration_is_the_cause_and_a_new_file_is_migrated(migrated: ForeignSystem) -> None:
    script = migrated.project / "sql" / "1.sql"
    good = script.read_text()
    script.write_text("create tabel orders (id int);")
    done = migrated("start", exit_code=4)
    assert "error: migrate: its process ended with exit code 3" in done.stderr
    assert 'syntax error at or near "tabel"' in done.stderr
    (alarm,) = (alarm for alarm in migrated.alarms() if alarm.startswith("fail"))
    assert alarm.startswith("fail task.failed migrate: migrate failed: its process ended with exit code 3")
    script.write_text(good)
    migrated.start()
    migrated.start()
    script.write_text(good + "alter table orders add column if not exists price int;")
    migrated("restart", exit_code=0)
    ran = data_of(migrated("status", "--json"))["services"]
    assert [row["detail"] for row in ran if row["name"] == "migrate"] == [""]
    migrated("restart", exit_code=0)
    (task,) = (row for row in data_of(migrated("status", "--json"))["services"] if row["name"] == "migrate")
    assert task["detail"].startswith("not run again: nothing has changed since it succeeded on ")


def test_django_migrates_before_gunicorn_serves(system: ForeignSystem) -> None:
    django_shop.install(system)
    system.services["migrate"] = {"command": ["{python}", *django_shop.MIGRATE], "kind": "task"}
    system.add("web", django_shop.gunicorn(), health="/health", headers=django_shop.HOST, depends_on=["migrate"])
    system.start()
    assert {name: well(row) for name, row in system.health().items()} == {"migrate": ("done", "ok"), "web": UP}
    made = system("run", "migrate", "--", "--check", exit_code=0)
    assert made.stderr.startswith("migrate: done in ")
