"""Databases and logs that are written while the backup reads them."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.backup_site import Site
from tests.support.waiting import wait_for
from toombos_cli.backup.archive.reader import Archive

WRITER = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
database.execute("PRAGMA journal_mode=WAL")
database.execute("CREATE TABLE one (n INTEGER)")
database.execute("CREATE TABLE two (n INTEGER)")
n = 0
print("ready", flush=True)
while True:
    database.execute("BEGIN IMMEDIATE")
    database.execute("INSERT INTO one VALUES (?)", (n,))
    database.execute("INSERT INTO two VALUES (?)", (n,))
    database.execute("COMMIT")
    n += 1
    print(n, flush=True)
    time.sleep(0.001)
"""


@contextmanager
def paired_writer(path: Path) -> Iterator[Path]:
    """Run a process that commits a row to two tables every millisecond; yield its file of acknowledged counts."""
    acknowledged = path.with_suffix(".acknowledged")
    with acknowledged.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=out, stderr=subprocess.PIPE)
        try:
            wait_for(lambda: acknowledged.stat().st_size > 20, what="the writer")
            yield acknowledged
            assert process.poll() is None, "a commit failed while a backup ran"
        finally:
            process.kill()
            process.communicate()


def last_count(acknowledged: Path) -> int:
    return int(acknowledged.read_bytes().rpartition(b"\n")[0].rpartition(b"\n")[2])


def test_50_backups_of_a_database_written_every_millisecond_are_consistent(tmp_path: Path) -> None:
    site = Site(tmp_path, roots=("data",))
    (tmp_path / "data").mkdir()
    with paired_writer(tmp_path / "data" / "live.db") as file:
        for _ in range(50):
            before = last_count(file)
            report = site.backup()
            assert report.databases[0].integrity == "ok"
            counts = report.databases[0].tables
            assert counts["one"] == counts["two"], "a commit was torn"
            assert counts["one"] >= before, "an acknowledged commit is missing"
            assert report.duration_s < 10
    site.restore(report.archive)
    with closing(sqlite3.connect(tmp_path / "data" / "live.db")) as database:
        assert database.execute("SELECT count(*) FROM one").fetchone()[0] == counts["one"]
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_log_that_grows_while_it_is_read_is_saved_as_an_exact_prefix(tmp_path: Path) -> None:
    site = Site(tmp_path, roots=("logs",))
    log = tmp_path / "logs" / "app.log"
    log.parent.mkdir()
    line = b"x" * 1023 + b"\n"
    log.write_bytes(line * 4096)
    stop = threading.Event()

    def grow() -> None:
        with log.open("ab") as out:
            while not stop.is_set():
                out.write(line * 64)
                stop.wait(64 * 1024 / 50e6)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        report = site.backup()
    finally:
        stop.set()
        writer.join()
    live = log.read_bytes()
    site.restore(report.archive)
    restored = log.read_bytes()
    assert len(restored) >= 4096 * 1024
    assert live.startswith(restored)


def test_a_log_truncated_while_it_is_read_is_padded_and_flagged(tmp_path: Path) -> None:
    site = Site(tmp_path, roots=("logs",))
    log = tmp_path / "logs" / "app.log"
    log.parent.mkdir()
    log.write_bytes(b"y" * (8 << 20))

    class Truncating:
        """Truncates the log after two pieces of it were read."""

        read_bytes = 0

        def step(self, name: str, total_bytes: int = 0) -> None:
            pass

        def advance(self, size_bytes: int) -> None:
            self.read_bytes += size_bytes
            if self.read_bytes == 2 << 20:
                os.truncate(log, 0)

    report = site.backup(Truncating())
    assert [(one.path, one.reason) for one in report.flagged] == [("logs/app.log", "shrunk")]
    assert report.known_good
    site.restore(report.archive)
    assert log.read_bytes() == b"y" * (2 << 20) + bytes(6 << 20)


def test_a_small_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path, roots=("data",))
    (tmp_path / "data").mkdir()
    config = tmp_path / "data" / "config"
    config.write_bytes(b"half")
    read = os.pread
    changed = []

    def change_once(fd: int, size: int, offset: int) -> bytes:
        content = read(fd, size, offset)
        if content == b"half" and not changed:
            changed.append(config.write_bytes(b"whole"))
        return content

    monkeypatch.setattr("toombos_cli.backup.archive.file_reader.os.pread", change_once)
    report = site.backup()
    monkeypatch.undo()
    with Archive(Path(report.archive)) as archive:
        assert archive.manifest.entries[1].size == len(b"whole")
    assert report.flagged == ()


def test_an_exclusively_locked_database_makes_the_backup_incomplete(tmp_path: Path) -> None:
    site = Site(tmp_path).fill()
    with closing(sqlite3.connect(tmp_path / "data" / "history.db", isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        report = site.backup(snapshot_deadline_s=0.2)
    assert [one.path for one in report.unreadable] == ["data/history.db"]
    assert not report.known_good
