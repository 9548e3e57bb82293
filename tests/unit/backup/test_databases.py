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
