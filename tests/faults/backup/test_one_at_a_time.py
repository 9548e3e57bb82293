"""Two commands at once: one wins, the other reports its pid; a lock never outlives its owner."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.backup_site import Site, Steps, run_apart
from tests.support.runner import Toombos
from tests.support.waiting import wait_for
from toombos_cli.backup.directory.naming import partial_path
from toombos_cli.backup.directory.remote import fetch
from toombos_cli.backup.observer import Silent
from toombos_cli.base.errors import LockedError, RefusedError
from toombos_cli.base.locks import hold_alone, share


@pytest.mark.parametrize("second", ["backup", "restore"])
def test_the_second_of_two_commands_is_refused_with_the_pid_of_the_first(tmp_path: Path, second: str) -> None:
    site = Site(tmp_path).fill()
    archive = site.backup().archive

    refusals: list[LockedError] = []

    class Meanwhile(Silent):
        def step(self, name: str, total_bytes: int = 0) -> None:
            if name == "sync":
                with pytest.raises(LockedError) as raised:
                    site.backup() if second == "backup" else site.restore(archive)
                refusals.append(raised.value)

    site.backup(Meanwhile())
    assert len(refusals) == 1
    refusal = refusals[0]
    assert f"pid {os.getpid()}" in str(refusal)
    assert refusal.exit_code == 6


def test_the_command_exits_6_while_another_process_works(project: Path, toombos: Toombos) -> None:
    with hold_alone(project / "run" / "backup.lock", "backup"):
        done = toombos("backup")
    assert done.returncode == 6
    assert f"pid {os.getpid()}" in done.stderr
    assert toombos("backup").returncode == 0


def test_a_lock_does_not_outlive_a_killed_owner(tmp_path: Path) -> None:
    site = Site(tmp_path).fill()
    process = run_apart(site, "backup", 3)
    process.communicate()
    assert process.returncode == -9
    assert site.backup().known_good


def test_a_backup_is_refused_after_an_interrupted_restore(tmp_path: Path) -> None:
    site = Site(tmp_path).fill()
    archive = site.backup().archive
    steps = Steps()
    site.restore(archive, observer=steps)
    run_apart(site, "restore", steps.names.index("exchange") + 2, archive).communicate()
    with pytest.raises(RefusedError) as raised:
        site.backup()
    assert raised.value.problems[0].hint == "toombos restore --recover"


def test_a_restore_is_refused_while_a_process_writes_below_the_roots(tmp_path: Path) -> None:
    site = Site(tmp_path).fill()
    archive = site.backup().archive
    tree = site.tree()
    hold = "import sys, time; f = open(sys.argv[1], 'a'); print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path / "logs" / "app.log")], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(RefusedError, match=f"pid {holder.pid}") as raised:
            site.restore(archive)
    finally:
        holder.kill()
        holder.communicate()
    assert raised.value.exit_code == 5
    assert site.tree() == tree
    assert not site.place.journal.exists()


def test_a_foreign_wal_beside_the_live_database_does_not_touch_the_restored_rows(tmp_path: Path) -> None:
    """SQLite would replay it into the restored file; for the whole tree, a single directory and the file itself."""
    site = Site(tmp_path).fill("right")
    archive = site.backup().archive
    foreign = tmp_path / "foreign.db"
    with closing(sqlite3.connect(foreign)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE words (word TEXT)")
        database.executemany("INSERT INTO words VALUES (?)", [("wrong" * 500,)] * 200)
        database.commit()
        stale = Path(f"{foreign}-wal").read_bytes()
    foreign.unlink()
    wait_for(lambda: len(stale) > 100_000, what="the foreign wal")
    for only in ((), ("data",), ("data/history.db",)):
        for suffix in ("-wal", "-journal"):
            (tmp_path / "data" / f"history.db{suffix}").write_bytes(stale)
        site.restore(archive, only=only)
        assert not (tmp_path / "data" / "history.db-wal").exists()
        assert not (tmp_path / "data" / "history.db-journal").exists()
        assert site.words() == ["right"]


def test_a_backup_leaves_a_running_download_alone_and_removes_an_interrupted_one(tmp_path: Path) -> None:
    pytest.importorskip("obstore", reason="obstore is not installed")
    there, here = Site(tmp_path / "there"), Site(tmp_path / "here")
    for site in (there, here):
        site.project.mkdir()
        site.fill()
    archive = Path(there.backup().archive)
    died = partial_path(here.place, "toombos-20260101T000000Z-0000.tar.zst")
    here.backup()
    died.write_text("half an archive")

    class Meanwhile(Silent):
        def advance(self, size_bytes: int) -> None:
            here.backup()

    fetched = fetch(f"{archive.parent.as_uri()}/{archive.name}", here.place, Meanwhile())
    assert fetched.read_bytes() == archive.read_bytes()
    assert not died.exists()


def test_a_backup_does_not_remove_a_decrypted_copy_while_it_is_read(tmp_path: Path) -> None:
    site = Site(tmp_path).fill()
    site.backup()
    scratch = site.place.directory / ".scratch-0123abcd"
    scratch.mkdir()
    with share(scratch):
        site.backup()
        assert scratch.is_dir()
    site.backup()
    assert not scratch.exists()
