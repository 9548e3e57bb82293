"""Rotation of a log that a process keeps writing to."""

import gzip
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from toombos_cli.base import locks
from toombos_cli.logs import cutting, rotation
from toombos_cli.logs.archives import archive_content
from toombos_cli.logs.follower import Follower
from toombos_cli.logs.rotation import LogFile
from toombos_cli.manifest.model import Logs

_DAY_S = 86_400
_WRITER = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
total, rate = int(sys.argv[2]), float(sys.argv[3])
began, sent = time.monotonic(), 0
for first in range(0, total, 500):
    block = b"".join(b"line %09d %s\\n" % (n, b"x" * (n % 180)) for n in range(first, min(first + 500, total)))
    os.write(fd, block)
    sent += len(block)
    ahead = sent / rate - (time.monotonic() - began)
    if ahead > 0:
        time.sleep(ahead)
"""


@pytest.fixture
def log(tmp_path: Path) -> LogFile:
    """Return an empty log in the temporary directory."""
    (tmp_path / "crm.log").touch()
    (tmp_path / "run").mkdir()
    return LogFile(tmp_path / "crm.log", tmp_path / "run" / "crm.rotation")


@pytest.fixture
def cuts(log: LogFile) -> None:
    """Skip the test if the file system cannot cut a range out of a file."""
    probe = log.path.with_name("probe")
    probe.write_bytes(b"x" * 65_536)
    with probe.open("r+b") as file:
        if not cutting.collapse(file.fileno(), os.fstatvfs(file.fileno()).f_bsize):
            pytest.skip("needs a file system with FALLOC_FL_COLLAPSE_RANGE (ext4, XFS)")
    probe.unlink()


def is_due(log: LogFile, settings: Logs, now: float) -> bool:
    return log.is_due(log.record(), log.path.stat().st_size, settings, now)


def compress(log: LogFile) -> None:
    """Compress all archives but the newest, as the supervisor does."""
    for archive in log.archives()[:-1]:
        if archive.suffix != ".gz":
            cutting.compress(archive, lambda: False)


def content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def lines_of(log: LogFile) -> list[bytes]:
    """Return every line of the archives and the live file in order, without the filler at the head of the live file."""
    whole = b"".join(content(archive) for archive in log.archives())
    return [line for line in (whole + log.path.read_bytes()).split(b"\n") if line.strip()]


def test_every_line_written_at_20_mb_per_second_is_kept_once_and_in_order(log: LogFile, cuts: None) -> None:
    count = 400_000  # 42 MB
    settings = Logs(keep=1_000_000)  # rotations are frequent: nothing may be pruned, on any disk
    writer = subprocess.Popen([sys.executable, "-P", "-c", _WRITER, str(log.path), str(count), "20e6"])
    rotations = 0
    while writer.poll() is None:
        rotations += log.rotate(settings, time.time()) is not None
    assert writer.returncode == 0
    assert rotations >= 3
    numbers = [int(line.split()[1]) for line in lines_of(log)]
    assert numbers == list(range(count))
    assert all(content(archive).endswith(b"\n") for archive in log.archives()), "an archive ends within a line"
    assert log.record().lossless


def test_a_follower_sees_every_line_once_during_rotations(log: LogFile, cuts: None) -> None:
    count = 60_000
    follower = Follower(log)
    writer = subprocess.Popen([sys.executable, "-P", "-c", _WRITER, str(log.path), str(count), "4e6"])
    seen: list[bytes] = []
    step = 0
    while writer.poll() is None:
        step += 1
        if step % 3 == 0:
            log.rotate(Logs(keep=100), time.time())
        seen += follower.poll()
        time.sleep(0.02)
    while lines := follower.poll():
        seen += lines
    assert [int(line.split()[1]) for line in seen if line.strip()] == list(range(count))
    assert len(log.archives()) >= 3


def test_a_follower_that_missed_rotations_continues_in_the_archives(log: LogFile) -> None:
    follower = Follower(log)
    for part in range(4):
        with log.path.open("a") as file:
            file.writelines(f"line {part * 1000 + n:06}\n" for n in range(1000))
        log.rotate(Logs(keep=100), 1_000_000.0 + part)
    with log.path.open("a") as file:
        file.write("line 004000\n")
    seen = [line for line in follower.poll() if line.strip()]
    assert [int(line.split()[1]) for line in seen] == list(range(4001))


def test_a_reader_waits_for_a_slow_rotation(log: LogFile) -> None:
    log.path.write_bytes(b"one\n")
    follower = Follower(log, from_end=False)
    (log.path.parent / "run").mkdir(exist_ok=True)
    lock = locks.take(log.path.parent / "run" / "crm.rotation-lock")
    assert lock is not None
    threading.Timer(1.5, os.close, (lock,)).start()
    assert follower.poll() == [b"one"]


def test_a_partial_last_line_stays_in_the_live_file(log: LogFile, cuts: None) -> None:
    log.path.write_text("a" * 6000 + "\nhalf a li")
    archive = log.rotate(Logs(), 1_000_000.0)
    assert archive is not None
    assert archive.read_text() == "a" * 6000 + "\n"
    with log.path.open("a") as file:
        file.write("ne\n")
    assert [line.strip() for line in log.path.read_text().splitlines() if line.strip()] == ["half a line"]


def test_nothing_is_rotated_if_there_is_no_complete_line(log: LogFile) -> None:
    log.path.write_text("no newline yet")
    assert log.rotate(Logs(), 1_000_000.0) is None
    assert log.path.read_text() == "no newline yet"
    assert log.archives() == ()


def test_output_without_newlines_does_not_grow_beyond_the_limit(log: LogFile) -> None:
    follower = Follower(log)
    parts = [b"a" * 1_500_000, b"b" * 1_200_000 + b"\nlast\n"]
    for n, part in enumerate(parts):
        with log.path.open("ab") as file:
            file.write(part)
        assert is_due(log, Logs(max_mb=1), 1_000_000.0 + n)
        assert log.rotate(Logs(max_mb=1), 1_000_000.0 + n) is not None
        assert not is_due(log, Logs(max_mb=1), 1_000_000.0 + n)
    assert b"".join(content(archive) for archive in log.archives()) == b"".join(parts)
    assert follower.poll() == [*b"".join(parts).splitlines()]


def test_a_follower_returns_a_very_long_line_in_parts(log: LogFile) -> None:
    follower = Follower(log)
    log.path.write_bytes(b"x" * 3_000_000)
    seen = follower.poll() + follower.poll()
    assert seen
    assert set(b"".join(seen)) == {ord("x")}


def test_an_archive_is_read_once_and_in_full_while_it_is_compressed(
    log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # after the .gz is written, before the original is removed
        for n in range(3):
            with log.path.open("a") as file:
                file.write(f"line {n}\n")
            log.rotate(Logs(), 1_000_000.0 + n)
            compress(log)
    before = log.archives()
    assert [archive_content(path) for path in before] == [b"line 0\n", b"line 1\n", b"line 2\n"]
    for path in before[:2]:
        path.unlink()
    assert [archive_content(path) for path in before] == [b"line 0\n", b"line 1\n", b"line 2\n"]
    before[0].with_name(f"{before[0].name}.gz").unlink()
    assert archive_content(before[0]) == b"", "a pruned archive still has content"


def test_thirty_archives_are_kept_and_all_but_the_newest_are_compressed(log: LogFile) -> None:
    for n in range(33):
        with log.path.open("a") as file:
            file.write(f"line {n:02}\n")
        log.rotate(Logs(keep=30), 1_000_000.0 + n)
        log.prune(Logs(keep=30))
        compress(log)
    archives = log.archives()
    assert len(archives) == 30
    assert [path.suffix for path in archives] == [".gz"] * 29 + [archives[-1].suffix]
    assert archives[-1].suffix != ".gz"
    assert [content(path).split()[-1] for path in archives] == [b"%02d" % n for n in range(3, 33)]
    assert {path.stat().st_mode & 0o777 for path in archives} == {0o600}


DUE = {
    "an empty log": (0, 0.0, False),
    "a small log of today": (100, 0.0, False),
    "a small log of yesterday": (100, _DAY_S, True),
    "a log of the size limit": (1_000_000, 0.0, True),
}


@pytest.mark.parametrize(("size", "later_s", "due"), DUE.values(), ids=DUE.keys())
def test_a_rotation_is_due_by_size_or_day(log: LogFile, size: int, later_s: float, due: bool) -> None:
    log.path.write_bytes(b"x" * (size - 1) + b"\n" if size else b"")
    log.note_beginning(time.time())
    assert is_due(log, Logs(max_mb=1), time.time() + later_s) is due


def test_a_log_of_yesterday_that_is_written_to_today_is_due(log: LogFile) -> None:
    log.path.write_text("of yesterday\n")
    log.note_beginning(time.time() - _DAY_S)
    with log.path.open("a") as file:
        file.write("of today\n")
    log.note_beginning(time.time())
    assert is_due(log, Logs(), time.time())


def test_the_daily_rotation_does_not_repeat_on_the_same_day(log: LogFile) -> None:
    log.path.write_text("line\n")
    log.note_beginning(time.time())
    tomorrow = time.time() + _DAY_S
    assert is_due(log, Logs(), tomorrow)
    log.rotate(Logs(), tomorrow)
    with log.path.open("a") as file:
        file.write("another\n")
    assert not is_due(log, Logs(), tomorrow)


CRASHES = ["after the archive", "after the cut", "after the filler"]


@pytest.mark.parametrize("moment", CRASHES)
def test_a_crash_in_the_middle_neither_loses_nor_repeats_a_line(
    log: LogFile, cuts: None, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    text = [b"line %06d" % n for n in range(3000)]
    log.path.write_bytes(b"\n".join(text) + b"\n")

    def crash(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "after the archive":
            patch.setattr(rotation, "collapse", crash)
        elif moment == "after the cut":
            patch.setattr(LogFile, "_finish", crash)
        else:
            patch.setattr(Path, "rename", crash)
        with pytest.raises(KeyboardInterrupt):
            log.rotate(Logs(), 1_000_000.0)
    with log.path.open("ab") as file:
        file.write(b"line 003000\n")
    log.recover()
    assert lines_of(log) == [*text, b"line 003000"]
    log.rotate(Logs(), 1_000_001.0)
    assert lines_of(log) == [*text, b"line 003000"]


def test_the_log_is_copied_and_truncated_if_the_file_system_cannot_cut_files(
    log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "collapse", lambda *_: False)
    text = [b"line %06d" % n for n in range(3000)]
    log.path.write_bytes(b"\n".join(text) + b"\n")
    log.rotate(Logs(), 1_000_000.0)
    assert log.path.read_bytes() == b""
    assert lines_of(log) == text
    assert not log.record().lossless
