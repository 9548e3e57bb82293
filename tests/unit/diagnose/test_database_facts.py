"""Facts about databases: SQLite files in every state, and a real PostgreSQL server."""

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
def test_a_sqlite_file_is_checked_and_never_changed(
    tmp_path: Path, make: Callable[[Path], None], ping: str, is_damaged: bool
):
    path = tmp_path / "some name.db"
    make(path)
    before = path.read_bytes()
    database = found(tmp_path, f"sqlite:///{path}")
    assert re.search(ping, database.ping) if ping else database.ping == ""
    assert database.damaged is is_damaged
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.glob("some*")) == ["some name.db"]


def test_a_sqlite_file_that_does_not_exist_yet_is_not_a_fault(tmp_path: Path):
    database = found(tmp_path, "sqlite:///data/new.db")
    assert (database.exists, database.ping, database.permission) == (False, "", "")
    assert not (tmp_path / "data").exists()


def test_a_directory_in_place_of_the_file_is_reported(tmp_path: Path):
    (tmp_path / "d.db").mkdir()
    assert found(tmp_path, "sqlite:///d.db").permission == f"{tmp_path / 'd.db'} is a directory"


def test_a_refused_connection_is_reported_without_the_password(tmp_path: Path):
    database = found(tmp_path, f"postgresql://app:sesame17@127.0.0.1:{free_port()}/x")
    assert (database.reached, "refused" in database.ping) == ("refused", True)
    assert "sesame" not in str(database)


def test_a_postgresql_server_reports_its_connections(tmp_path: Path, postgres: str):  # noqa: F811  (the fixture)
    database = found(tmp_path, postgres)
    assert (database.reached, database.ping, database.permission) == ("ok", "", "")
    assert database.connections is not None
    assert 1 <= database.connections <= (database.max_connections or 0)


def test_a_missing_postgresql_database_is_reported_by_name(tmp_path: Path, postgres: str):  # noqa: F811  (the fixture)
    facts = facts_of(tmp_path, postgres.replace("/postgres", "/no_such"))
    (finding,) = next(check for check in CHECKS if check.id == "db.ping").run(facts)
    assert (finding.verdict, 'database "no_such" does not exist' in finding.reason) == (Verdict.FAIL, True)
    assert "sekret" not in str(finding)
