"""SQLite databases that need collations and functions of their application are judged as far as possible."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.backup_site import Site
from toombos_cli.backup.databases import judge

FOREIGN = {
    "a collation of a primary key": ("CREATE TABLE t (x PRIMARY KEY COLLATE unicase)", {"t": 3, "u": 2}),
    "a collation of a table without rowid": (
        "CREATE TABLE t (x PRIMARY KEY COLLATE unicase) WITHOUT ROWID",
        {"u": 2},
    ),
    "a function in an index": ("CREATE TABLE t (x); CREATE INDEX i ON t (fold(x))", {"t": 3, "u": 2}),
    "a function in a partial index": ("CREATE TABLE t (x); CREATE INDEX i ON t (x) WHERE fold(x)", {"t": 3, "u": 2}),
}


def fill(path: Path, ddl: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database:
        database.create_collation("unicase", lambda a, b: (a > b) - (a < b))
        database.create_function("fold", 1, lambda x: x, deterministic=True)
        database.executescript(f"{ddl}; CREATE TABLE u (n)")
        database.executemany("INSERT INTO u VALUES (?)", [(1,), (2,)])
        database.executemany("INSERT INTO t VALUES (?)", [("a",), ("b",), ("c",)])
        database.commit()


@pytest.mark.parametrize("what", FOREIGN)
def test_a_database_stays_good_with(what: str, tmp_path: Path):
    ddl, tables = FOREIGN[what]
    site = Site(tmp_path, roots=("data",))
    fill(tmp_path / "data" / "own.db", ddl)
    report = site.backup()
    (database,) = report.databases
    assert (report.known_good, database.integrity, database.tables) == (True, "ok", tables)
    assert database.unjudged
    (tmp_path / "data" / "own.db").unlink()
    site.restore(report.archive)
    assert judge(tmp_path / "data" / "own.db").tables == tables


def test_damage_is_found_in_a_database_that_cannot_be_judged_as_a_whole(tmp_path: Path):
    path = tmp_path / "own.db"
    fill(path, "CREATE TABLE t (x PRIMARY KEY COLLATE unicase)")
    with closing(sqlite3.connect(path)) as database:
        page = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'u'").fetchone()[0]
        size = database.execute("PRAGMA page_size").fetchone()[0]
    content = bytearray(path.read_bytes())
    content[(page - 1) * size : page * size] = b"\xff" * size
    path.write_bytes(content)
    assert judge(path).integrity != "ok"


def in_wal_mode(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True)
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE t (x)")
    database.execute("INSERT INTO t VALUES (1)")
    database.commit()
    return database


def test_a_backup_leaves_nothing_beside_a_database_at_rest_in_wal_mode(tmp_path: Path):
    in_wal_mode(tmp_path / "data" / "own.db").close()
    content = (tmp_path / "data" / "own.db").read_bytes()
    report = Site(tmp_path, roots=("data",)).backup()
    assert report.databases[0].tables == {"t": 1}
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["own.db"]
    assert (tmp_path / "data" / "own.db").read_bytes() == content


def test_a_backup_keeps_the_files_of_an_open_database_in_wal_mode(tmp_path: Path):
    with closing(in_wal_mode(tmp_path / "data" / "own.db")) as database:
        assert Site(tmp_path, roots=("data",)).backup().databases[0].tables == {"t": 1}
        assert {path.name for path in (tmp_path / "data").iterdir()} == {"own.db", "own.db-wal", "own.db-shm"}
        database.execute("INSERT INTO t VALUES (2)")
        database.commit()
    assert judge(tmp_path / "data" / "own.db").tables == {"t": 2}
