"""Which files a backup takes, which it leaves out, and why."""

import os
import shutil
import socket
import sqlite3
import subprocess
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.backup_site import Site
from toombos_cli.backup.archive.format import Root
from toombos_cli.backup.archive.safety import link_complaint, name_complaint
from toombos_cli.backup.selection import Scope, outermost, select
from toombos_cli.base.results import Verdict

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


TREE = ("data/cache/x", "data/a/b", "data/a/x/b", "data/a/tmp/x", "data/tmp/x", "data/n/node_modules/x", "logs/x.tmp")
PATTERNS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "a path": (("data/cache",), {"data/cache/x"}),
    "a directory, with a slash at its end": (("data/cache/",), {"data/cache/x"}),
    "a directory at any level": (("node_modules/",), {"data/n/node_modules/x"}),
    "a slash at the end does not match a file": (("x.tmp/",), set()),
    "a path from the project's directory": (("/data/cache",), {"data/cache/x"}),
    "a name from the project's directory only": (("/cache",), set()),
    "a name at any level": (("tmp",), {"data/a/tmp/x", "data/tmp/x"}),
    "an ending": (("*.tmp",), {"logs/x.tmp"}),
    "a star ends at a slash": (("data/a/*b",), {"data/a/b"}),
    "two stars stand for no directory too": (("data/**/tmp",), {"data/a/tmp/x", "data/tmp/x"}),
    "everything in a directory": (("data/a/**",), {"data/a/b", "data/a/x/b", "data/a/tmp/x"}),
    "a later pattern brings a file back": (("*.tmp", "!x.tmp"), set()),
    "an earlier one does not": (("!x.tmp", "*.tmp"), {"logs/x.tmp"}),
    "a comment": (("#data/cache",), set()),
    "a set of characters": (("data/[ct]*/",), {"data/cache/x", "data/tmp/x"}),
}


@pytest.mark.parametrize(("patterns", "left_out"), PATTERNS.values(), ids=PATTERNS)
def test_exclude_patterns_mean_what_they_mean_in_git(
    tmp_path: Path, patterns: tuple[str, ...], left_out: set[str]
) -> None:
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    site = Site(tmp_path, roots=("data", "logs"), exclude=patterns)
    assert set(TREE) - names(site.scope) == left_out
    ignored = git_ignores(tmp_path, patterns)
    assert ignored is None or ignored == left_out


def git_ignores(project: Path, patterns: tuple[str, ...]) -> set[str] | None:
    """Return the files of the tree that git ignores with these patterns, or None if there is no git."""
    if shutil.which("git") is None:
        return None
    (project / ".gitignore").write_text("\n".join(patterns) + "\n")
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    argv = ["git", "ls-files", "--others", "--ignored", "--exclude-standard"]
    done = subprocess.run(argv, cwd=project, check=True, capture_output=True, text=True)
    return set(done.stdout.split()) & set(TREE)


@pytest.mark.parametrize("pattern", ["nothing", "./data/deep", "data/dep/", "!", "", "#data/deep", "/note.txt"])
def test_a_pattern_that_matches_nothing_is_named(tmp_path: Path, pattern: str) -> None:
    site = Site(tmp_path, exclude=("data/deep", pattern)).fill()
    assert select(site.scope, time.time()).unmatched == (pattern,)


def test_a_pattern_that_a_stronger_one_covers_has_matched(tmp_path: Path) -> None:
    site = Site(tmp_path, exclude=("*.txt", "note.*", "*")).fill()
    assert select(site.scope, time.time()).unmatched == ("*.txt", "note.*"), "nothing in `data` is looked at"
    assert select(replace(site.scope, exclude=("*.txt", "note.*")), time.time()).unmatched == ()


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


def test_sockets_are_left_out_and_links_and_fifos_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        "data/s": "is a socket or device",
    }
    kinds = {found.name: found.type for found in selection.found}
    assert kinds[b"data/fifo"] == "fifo"
    assert {kinds[name] for name in (b"data/out", b"data/climb", b"data/fine")} == {"symlink"}


@pytest.mark.parametrize(
    ("target", "is_outside"),
    [("{disk}/app.db", True), ("deep/app.db", False), ("{disk}/text", False), ("{disk}/gone", False)],
    ids=["a database in no root", "a database in a root", "another file", "nothing"],
)
def test_a_link_to_a_database_in_no_root_is_a_warning(tmp_path: Path, target: str, is_outside: bool) -> None:
    site, disk = Site(tmp_path).fill(), tmp_path / "disk"
    disk.mkdir()
    (disk / "text").write_text("x")
    for place in (disk, tmp_path / "data" / "deep"):
        shutil.copy(tmp_path / "data" / "history.db", place / "app.db")
    link = target.format(disk=disk)
    (tmp_path / "data" / "app.db").symlink_to(link)
    report = site.backup()
    assert [(one.path, one.target) for one in report.outside] == ([("data/app.db", link)] if is_outside else [])
    assert (report.verdict is Verdict.WARN) == is_outside


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
        *((target, True) for target in (b"x", b"../../data/z", b"/data", b"x/../y", b"t" * 4095)),
        *((target, False) for target in (b"", b"x\0", b"t" * 4096)),
    ],
)
def test_a_link_may_lead_anywhere_that_the_kernel_allows(target: bytes, is_fine: bool) -> None:
    assert (link_complaint(target) is None) == is_fine
