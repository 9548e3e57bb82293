"""What is found out about a database: SQLite files in every state, and a real PostgreSQL."""

import os
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.backup.test_postgres import cluster as postgres  # noqa: F401  (a fixture: it starts a real server)
from tests.support.ports import free_port
from toombos_cli.base.results import Verdict
from toombos_cli.diagnose.checks import CHECKS
from toombos_cli.diagnose.facts.database import DATABASES, DatabaseFacts
from toombos_cli.diagnose.facts.source import LiveFacts
from toombos_cli.manifest.reading.loader import load_manifest


def facts_of(project: Path, url: str) -> LiveFacts:
    (project / "toombos.toml").write_text('extends = "toombos"\n')
    (project / ".env").write_text(f"DATABASE_URL={url}\n")
    return LiveFacts(load_manifest(project))


def found(project: Path, url: str) -> DatabaseFacts:
    (only,) = facts_of(project, url).get(DATABASES)
    return only


def whole(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (n)")
        connection.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(5000)])
    connection.close()


def damaged(path: Path) -> None:
    whole(path)
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(16_384))


@pytest.mark.parametrize(
    ("make", "ping", "is_damaged"),
    [
        (whole, "", False),
        (damaged, "damaged|malformed", True),
        (lambda path: path.write_bytes(b"no database at all" * 100), "not a database", True),
        (lambda path: path.write_bytes(b""), "", False),
    ],
    ids=["whole", "damaged", "garbage", "empty"],
)
def test_a_sqlite_file_is_asked_and_never_changed(
    tmp_path: Path, make: Callable[[Path], None], ping: str, is_damaged: bool
):
    path = tmp_path / "some name.db"
    make(path)
    before = path.read_bytes()
    answer = found(tmp_path, f"sqlite:///{path}")
    assert re.search(ping, answer.ping) if ping else answer.ping == ""
    assert answer.damaged is is_damaged
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.glob("some*")) == ["some name.db"]


def test_a_sqlite_file_that_does_not_exist_yet_is_no_fault(tmp_path: Path):
    answer = found(tmp_path, "sqlite:///data/new.db")
    assert (answer.exists, answer.ping, answer.permission) == (False, "", "")
    assert not (tmp_path / "data").exists()


def test_a_directory_in_place_of_the_file_is_named(tmp_path: Path):
    (tmp_path / "d.db").mkdir()
    assert found(tmp_path, "sqlite:///d.db").permission == f"{tmp_path / 'd.db'} is a directory"


def test_a_server_that_is_not_there_is_refused_and_its_password_is_not_told(tmp_path: Path):
    answer = found(tmp_path, f"postgresql://app:sesame17@127.0.0.1:{free_port()}/x")
    assert (answer.reached, "refused" in answer.ping) == ("refused", True)
    assert "sesame" not in str(answer)


def test_a_postgresql_server_answers_with_its_connections(tmp_path: Path, postgres: str):  # noqa: F811  (the fixture)
    answer = found(tmp_path, postgres)
    assert (answer.reached, answer.ping, answer.permission) == ("ok", "", "")
    assert answer.connections is not None
    assert 1 <= answer.connections <= (answer.max_connections or 0)


def test_a_postgresql_database_that_does_not_exist_is_named(tmp_path: Path, postgres: str):  # noqa: F811  (the fixture)
    facts = facts_of(tmp_path, postgres.replace("/postgres", "/no_such"))
    (answer,) = next(check for check in CHECKS if check.id == "db.ping").run(facts)
    assert (answer.verdict, 'database "no_such" does not exist' in answer.reason) == (Verdict.FAIL, True)
    assert "sekret" not in str(answer)
