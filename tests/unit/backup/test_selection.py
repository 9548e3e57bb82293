"""Which files a backup takes, which it leaves out, and why."""

import os
import socket
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.backup_site import Site
from toombos_cli.backup.archive.format import Root
from toombos_cli.backup.archive.safety import link_complaint, name_complaint
from toombos_cli.backup.selection import Scope, outermost, select

DAY_S = 86_400


def names(scope: Scope) -> set[str]:
    return {os.fsdecode(found.name) for found in select(scope, time.time()).found}


def test_a_backup_takes_its_roots_and_everything_below_them(tmp_path: Path) -> None:
    site = Site(tmp_path).fill()
    (tmp_path / "elsewhere").write_text("not a root")
    expected = {".env", "data", "data/deep", "data/deep/note.txt", "data/history.db", "logs", "logs/app.log"}
    assert names(site.scope) == expected


def test_a_selection_lists_absent_roots(tmp_path: Path) -> None:
    site = Site(tmp_path, roots=("data", "monitoring"))
    (tmp_path / "data").mkdir()
    selection = select(site.scope, time.time())
    assert selection.absent == ["monitoring"]
    assert [root.path for root in selection.roots] == ["data"]


def test_old_files_are_left_out_of_log_roots_only(tmp_path: Path) -> None:
    site = Site(tmp_path).fill()
    for name in ("logs/old.log", "data/old.txt"):
        site.write(name, "old")
        os.utime(tmp_path / name, (time.time() - 8 * DAY_S,) * 2)
    scope = replace(site.scope, roots=(Root(path="data"), Root(path="logs", log_days=7)))
    assert "logs/old.log" not in names(scope)
    assert {"logs/app.log", "data/old.txt"} <= names(scope)


@pytest.mark.parametrize(
    ("pattern", "left_out"),
    [
        ("data/deep", {"data/deep", "data/deep/note.txt"}),
        ("*.txt", {"data/deep/note.txt"}),
        ("deep", {"data/deep", "data/deep/note.txt"}),
        ("**/note.txt", {"data/deep/note.txt"}),
        ("nothing", set()),
    ],
)
def test_files_that_match_an_exclude_pattern_are_left_out(tmp_path: Path, pattern: str, left_out: set[str]) -> None:
    site = Site(tmp_path).fill()
    assert names(site.scope) - names(replace(site.scope, exclude=(pattern,))) == left_out


def test_files_that_a_restore_replaces_are_never_left_out(tmp_path: Path) -> None:
    site = Site(tmp_path).fill()
    scope = replace(site.scope, exclude=("*.txt",), always=frozenset({b"data/deep/note.txt"}))
    assert "data/deep/note.txt" in names(scope)


def test_only_companion_files_of_a_database_are_left_out_not_files_with_similar_names(tmp_path: Path) -> None:
    site = Site(tmp_path).fill()
    site.write("data/plain-wal", "not a database file")
    with closing(sqlite3.connect(tmp_path / "data" / "history.db")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("INSERT INTO words VALUES ('more')")
        database.commit()
        assert (tmp_path / "data" / "history.db-wal").exists()
        found = names(site.scope)
    assert {"data/history.db", "data/plain-wal"} <= found
    assert not {"data/history.db-wal", "data/history.db-shm"} & found


def test_files_that_cannot_be_restored_are_left_out_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path).fill()
    os.mkfifo(tmp_path / "data" / "fifo")
    (tmp_path / "data" / "out").symlink_to("/etc/passwd")
    (tmp_path / "data" / "climb").symlink_to("../../x")
    (tmp_path / "data" / "fine").symlink_to("deep/note.txt")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path / "data")
        listener.bind("s")
        selection = select(site.scope, time.time())
    reasons = {os.fsdecode(name): reason for name, reason in selection.left_out.items()}
    assert reasons == {
        "data/fifo": "is a socket, fifo or device",
        "data/s": "is a socket, fifo or device",
        "data/out": "is a link to an absolute path",
        "data/climb": "is a link that leaves its root",
    }
    assert b"data/fine" in {found.name for found in selection.found}


def test_a_root_that_is_a_link_to_another_disk_is_followed(tmp_path: Path) -> None:
    project, disk = tmp_path / "project", tmp_path / "disk"
    project.mkdir()
    disk.mkdir()
    (disk / "x").write_text("x")
    (project / "data").symlink_to(disk)
    site = Site(project, roots=("data",))
    assert names(site.scope) == {"data", "data/x"}
    archive = site.backup().archive
    (disk / "x").write_text("y")
    site.restore(archive)
    assert (project / "data").is_symlink()
    assert (disk / "x").read_text() == "x"


def test_a_nested_root_is_taken_with_its_parent_directories(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "other").write_text("x")
    assert names(Site(tmp_path, roots=("a/b/c",)).scope) == {"a", "a/b", "a/b/c"}


def test_a_root_inside_another_is_taken_once() -> None:
    roots = [Root(path=path) for path in ("data/x", "data", "data", "database")]
    assert [root.path for root in outermost(roots)] == ["data", "database"]


@pytest.mark.parametrize(
    ("name", "is_fine"),
    [
        *((name, True) for name in (b"a", b"a/b", b"caf\xe9", b"..a", b"a b", b"-rf")),
        *((name, False) for name in (b"", b"/a", b"a/", b"a//b", b"./a", b"a/..", b"a\0b", b"n" * 256)),
    ],
)
def test_a_name_must_be_a_plain_relative_path(name: bytes, is_fine: bool) -> None:
    assert (name_complaint(name) is None) == is_fine


@pytest.mark.parametrize(
    ("target", "is_fine"),
    [
        *((target, True) for target in (b"x", b"./x", b"../y", b"..", b"x/y")),
        *((target, False) for target in (b"../../data/z", b"../..", b"/data", b"x/../y", b"", b"x\0")),
    ],
)
def test_a_link_must_stay_in_its_root_even_if_other_links_exist(target: bytes, is_fine: bool) -> None:
    assert (link_complaint(b"data/deep/link", target, b"data") is None) == is_fine
