"""What cannot be read in one member of an archive is named, while everything else is saved."""

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.backup_site import Site
from toombos_cli.backup import create
from toombos_cli.backup.living import saving


def a_wal_that_is_a_directory(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
    Path(f"{path}-wal").mkdir()
    Path(f"{path}-wal", "note.txt").write_text("x")


def refuse(code: int) -> Callable[..., None]:
    def fail(source: bytes, target: Path, *_: object, **__: object) -> None:
        target.write_bytes(b"half")
        raise OSError(code, os.strerror(code), os.fsdecode(source))

    return fail


def lack_room(source: bytes, target: Path, *_: object, **__: object) -> None:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise error


SNAPSHOTS = {
    "the disk has an error": refuse(errno.EIO),
    "the user may not read it": refuse(errno.EACCES),
    "the copy does not fit on the disk": refuse(errno.ENOSPC),
    "the network file system lost it": refuse(errno.ESTALE),
    "the copy does not fit, says SQLite": lack_room,
}


@pytest.mark.parametrize("what", SNAPSHOTS)
def test_a_database_that_cannot_be_copied_is_one_unreadable_entry(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path).fill()
    monkeypatch.setattr(create, "snapshot", SNAPSHOTS[what])
    report = site.backup()
    assert [one.path for one in report.unreadable] == ["data/history.db"]
    assert (report.complete, report.files, report.databases) == (False, 3, ())


def test_a_wal_that_is_a_directory_is_saved_and_its_database_named(tmp_path: Path) -> None:
    site = Site(tmp_path).fill()
    a_wal_that_is_a_directory(tmp_path / "data" / "history.db")
    report = site.backup()
    assert [one.path for one in report.unreadable] == ["data/history.db"]
    assert report.files == 4


def test_text_that_is_no_utf8_does_not_make_a_database_unsound(tmp_path: Path) -> None:
    """Rows are looked at without an index if the index needs a collation of the application's own."""
    site = Site(tmp_path).fill()
    with closing(sqlite3.connect(tmp_path / "data" / "history.db")) as database:
        database.create_collation("own", lambda a, b: (a > b) - (a < b))
        database.execute("CREATE TABLE t (x TEXT PRIMARY KEY COLLATE own)")
        database.execute("INSERT INTO t VALUES (CAST(x'ff' AS TEXT))")
        database.execute("CREATE TABLE renamed (x)")
        database.execute("PRAGMA writable_schema = ON")
        database.execute(
            "UPDATE sqlite_master SET name = CAST(x'72ff' AS TEXT), tbl_name = CAST(x'72ff' AS TEXT), "
            "sql = CAST('CREATE TABLE \"r' || CAST(x'ff' AS TEXT) || '\" (x)' AS TEXT) WHERE name = 'renamed'"
        )
        database.commit()
    report = site.backup()
    assert report.known_good
    (database_report,) = report.databases
    assert database_report.is_sound
    assert database_report.tables["words"] == 1


def test_a_data_directory_that_vanishes_is_one_unreadable_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path).fill()
    for name in ("PG_VERSION", "base/1", "global/pg_control"):
        (tmp_path / "data" / "pg" / name).parent.mkdir(parents=True, exist_ok=True)
        site.write(f"data/pg/{name}", "15")

    def vanish(directory: bytes, *_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), directory)

    monkeypatch.setattr(saving, "base_backup", vanish)
    monkeypatch.setattr(saving, "find_processes", lambda stores: tuple(replace(one, pid=1) for one in stores))
    report = site.backup()
    assert [one.path for one in report.unreadable] == ["data/pg"]
    assert report.files == 4
