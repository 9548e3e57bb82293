"""Logs that others truncate, copy, move or replace: no line is lost, repeated or hidden."""

import bz2
import gzip
import lzma
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.log_rotations import KEEPING_ALL, Rotation, copy_and_truncate, logrotate, truncate
from tests.support.waiting import wait_for
from toombos_cli.logs.archives import archive_content
from toombos_cli.logs.follower import Follower
from toombos_cli.logs.reading import run_logs
from toombos_cli.logs.rotation import LogFile
from toombos_cli.manifest.tables.logs import Logs
from toombos_cli.supervisor.log_keeper import LogKeeper

_BATCH = 16_000
"""So many lines exceed the limit of 1 MB, and are rotated at once."""
_OF_LOG = r"crm\.log(?!.*\.part$).*"
"""Matches the log and its archives, but none that is still being written."""


_COMPRESSED_BY: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


class Service:
    """A program that writes numbered lines to its log, as a supervised one: through a descriptor that appends."""

    keeper: LogKeeper

    def __init__(self, path: Path, record: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.record = record
        self.count = 0
        self.cuts = 0

    @property
    def log(self) -> LogFile:
        """The log as `toombos logs` finds it: with the file that the service writes to, if that has been moved."""
        mine = os.fstat(self.fd)
        moved = not self.path.exists() or not os.path.samestat(mine, self.path.stat())
        return LogFile(self.path, self.record, elsewhere=(Path(f"/proc/self/fd/{self.fd}"),) if moved else ())

    def write(self, count: int) -> None:
        lines = (b"%09d %s\n" % (n, b"x" * (n % 120)) for n in range(self.count, self.count + count))
        os.write(self.fd, b"".join(lines))
        self.count += count

    def in_files(self) -> list[int]:
        """Return the numbers of the lines that the files have, between two rotations; a compressed file counts once."""
        with self.log.reading():
            found = [path.name for path in self.path.parent.iterdir() if re.fullmatch(_OF_LOG, path.name)]
            names = {name.removesuffix(".gz") for name in found}
            return sorted(number for name in names for number in numbers(archive_content(self.path.with_name(name))))

    def shown(self) -> list[int]:
        lines = run_logs({"crm": self.log}, count=None).lines
        assert not [line for line in lines if not line.line.strip()], "a filler is shown"
        return [int(line.line.split()[0]) for line in lines]

    def note_cut(self, cut: int | None) -> None:
        self.cuts += cut is not None

    def wait_for_cut(self) -> None:
        """Wait for one more rotation than there has been."""
        before = self.cuts
        wait_for(lambda: self.cuts > before, what="a rotation by toombos")


def numbers(text: bytes) -> list[int]:
    return [int(number) for number in re.findall(rb"^(\d{9})\b", text, re.MULTILINE)]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "logs").mkdir()
    (tmp_path / "run").mkdir()
    made = Service(tmp_path / "logs" / "crm.log", tmp_path / "run" / "crm.rotation")
    keeper = LogKeeper(
        paths=lambda: [str(made.path)],
        settings=lambda: Logs(max_mb=1, daily=False, keep=1000),
        record_of=lambda path: made.record,
        on_warning=lambda path, warning: None,
        on_new_content=lambda path, cut: made.note_cut(cut),
    )
    made.keeper = keeper
    keeper.begin()
    yield made
    keeper.end()
    os.close(made.fd)


@pytest.mark.parametrize("rotated", [False, True], ids=["never rotated", "rotated before"])
@pytest.mark.parametrize("others", KEEPING_ALL.values(), ids=KEEPING_ALL.keys())
def test_every_line_is_in_the_files_and_shown_once_and_in_order(
    service: Service, others: Rotation, rotated: bool
) -> None:
    if rotated:
        service.write(_BATCH)
        service.wait_for_cut()
    service.write(40)
    follower = Follower(service.log, from_end=False)
    before = len(follower.poll())
    for more in (50, 0, 3000):
        service.write(25)
        others(service.path)
        service.write(more)
        assert service.in_files() == list(range(service.count))
        assert service.shown() == list(range(service.count))
    followed: list[bytes] = []
    while lines := follower.poll():
        followed += lines
    assert sorted(numbers(b"\n".join(followed))) == list(range(service.count))[-len(followed) :]
    assert len(followed) == service.count - before or rotated


@pytest.mark.parametrize("others", [truncate, *KEEPING_ALL.values()], ids=["truncate", *KEEPING_ALL.keys()])
def test_a_follower_sees_each_line_once_and_in_order(service: Service, others: Rotation) -> None:
    service.write(_BATCH)
    service.wait_for_cut()
    follower = Follower(service.log)
    first, followed = service.count, []
    for more in (3, _BATCH, 30):
        service.write(20)
        followed += follower.poll()
        others(service.path)
        service.write(more)
        followed += follower.poll()
    while lines := follower.poll():
        followed += lines
    assert numbers(b"\n".join(followed)) == list(range(first, service.count))


@pytest.mark.parametrize("unread", [0, 5], ids=["all was read before the cut", "some was not"])
def test_a_follower_does_not_repeat_an_archive_that_it_had_read_if_a_truncation_follows(
    tmp_path: Path, unread: int
) -> None:
    service = Service(tmp_path / "crm.log", tmp_path / "crm.rotation")
    follower = Follower(service.log)
    service.write(3000)
    followed = follower.poll()
    service.write(unread)
    assert service.log.rotate(Logs(max_mb=1), time.time()) is not None
    service.write(20)
    copy_and_truncate(service.path)
    service.write(3)
    while lines := follower.poll():
        followed += lines
    os.close(service.fd)
    assert numbers(b"\n".join(followed)) == list(range(service.count))


def test_what_is_written_after_a_truncation_is_shown_followed_and_archived(service: Service) -> None:
    service.write(_BATCH)
    service.wait_for_cut()
    follower = Follower(service.log)
    truncate(service.path)
    first = service.count
    service.write(20)
    assert numbers(b"\n".join(follower.poll())) == list(range(first, first + 20))
    assert follower.poll() == []
    assert service.shown()[-20:] == list(range(first, first + 20))
    service.write(_BATCH)
    service.wait_for_cut()
    service.write(10)
    assert service.in_files()[-_BATCH - 30 :] == list(range(first, service.count))
    assert service.shown()[-_BATCH - 30 :] == list(range(first, service.count))


def test_a_file_that_grew_beyond_its_old_size_between_two_looks_is_read_from_its_start(service: Service) -> None:
    service.write(40)
    follower = Follower(service.log)
    truncate(service.path)
    service.write(200)
    assert numbers(b"\n".join(follower.poll())) == list(range(40, 240))


def test_a_removed_log_is_shown_as_long_as_the_service_has_it_open(service: Service) -> None:
    service.write(30)
    service.path.unlink()
    service.write(12)
    assert service.shown() == list(range(42))


@pytest.mark.parametrize("more", [0, 1, 3000], ids=["nothing more", "one line more", "3,000 lines more"])
def test_each_line_of_a_log_that_was_compressed_under_its_writer_is_shown_once(service: Service, more: int) -> None:
    """The copy has what was written until then, and the service's file, which has no name any more, has it too."""
    service.write(30)
    follower = Follower(service.log, from_end=False)
    followed = follower.poll()
    service.write(20)
    logrotate("create", "compress")(service.path)
    service.write(more)
    assert service.shown() == list(range(50 + more))
    while lines := follower.poll():
        followed += lines
    assert numbers(b"\n".join(followed)) == list(range(50 + more))
    late = Follower(service.log, from_end=False)
    assert numbers(b"\n".join(late.poll())) == list(range(50 + more))


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("crm.log.20260101T000000.000", ".gz"),
        *((name, suffix) for name in ("crm.log.1", "crm.log-20260101") for suffix in (".gz", ".bz2", ".xz")),
    ],
)
def test_an_archive_that_is_compressed_while_the_log_is_read_is_shown_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, suffix: str
) -> None:
    log, archive = tmp_path / "crm.log", tmp_path / name
    log.write_text("000000001\n")
    archive.write_text("000000000\n")
    found = [path.name for path in tmp_path.iterdir()]
    packed = archive.with_name(archive.name + suffix)
    packed.write_bytes(_COMPRESSED_BY[suffix](b"000000000\n"))
    shown = [line.line for line in run_logs({"crm": LogFile(log, tmp_path / "record")}, count=None).lines]
    assert shown == ["000000000", "000000001"], "the archive has just been compressed, and is not yet removed"
    archive.unlink()
    monkeypatch.setattr("toombos_cli.logs.archives.os.listdir", lambda _: found)
    shown = [line.line for line in run_logs({"crm": LogFile(log, tmp_path / "record")}, count=None).lines]
    assert shown == ["000000000", "000000001"], "the archive was compressed and removed after it was listed"


def test_a_record_of_another_content_hides_nothing(service: Service) -> None:
    """As after a restore, which brings back an older log."""
    service.write(_BATCH)
    service.wait_for_cut()
    service.path.write_text("".join(f"{n:09}\n" for n in range(500)))
    assert numbers("\n".join(line.line for line in run_logs({"crm": service.log}, count=500).lines).encode()) == list(
        range(500)
    )


_WRITER = """
import fcntl, os, sys, time
path, total, most = sys.argv[1], int(sys.argv[3]), int(sys.argv[4])
lock = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
log = -1
for first in range(0, total, 200):
    fcntl.flock(lock, fcntl.LOCK_EX)
    if log < 0 or not os.path.samestat(os.fstat(log), os.stat(path)):
        log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    lines = (b" ".join([b"%09d" % n] * (n % most + 1)) for n in range(first, min(first + 200, total)))
    os.write(log, b"\\n".join((*lines, b"")))
    fcntl.flock(lock, fcntl.LOCK_UN)
    time.sleep(0.015)
"""
_AT_ONCE = (
    "logrotate with copytruncate",
    "logrotate with create",
    "copy and truncate",
    "move and create",
)


@pytest.mark.parametrize(
    ("count", "most", "rotations"),
    [(50_000, 60, 12), pytest.param(1_000_000, 12, 60, marks=pytest.mark.full)],
    ids=["50,000 lines", "1,000,000 lines"],
)
def test_no_line_is_lost_or_repeated_while_all_rotate_and_truncate_at_once(
    service: Service, count: int, most: int, rotations: int
) -> None:
    """Toombos cuts at each MB, while others move, copy and truncate, or empty the log, and a follower reads.

    The writer opens its log again if it was moved, and waits while others are at work: what is written between their
    copy and their truncation is lost to everybody. A log that is emptied loses what it had, which was read before.
    Others are at work at most once between two reads: a follower cannot see that a log was emptied twice.
    """
    import fcntl

    log = LogFile(service.path, service.record)
    lock = os.open(service.path.with_name("lock"), os.O_RDWR | os.O_CREAT)
    follower = Follower(log, from_end=False)
    followed: list[int] = []
    emptied: set[int] = set()

    def follow() -> bool:
        lines = follower.poll()
        followed.extend(numbers(b"\n".join(lines)))
        return bool(lines)

    def rotate(turn: int) -> None:
        if turn % (len(_AT_ONCE) + 1) < len(_AT_ONCE):
            KEEPING_ALL[_AT_ONCE[turn % (len(_AT_ONCE) + 1)]](service.path)
            return
        while follow():
            pass
        emptied.update(numbers(service.path.read_bytes()))
        truncate(service.path)

    arguments = (str(service.path), str(service.path.with_name("lock")), str(count), str(most))
    writer = subprocess.Popen([sys.executable, "-P", "-c", _WRITER, *arguments])
    try:
        turn = polls = 0
        while writer.poll() is None:
            polls += follow()
            if polls > 1 and len(followed) >= (turn + 1) * count / (rotations + 1):
                fcntl.flock(lock, fcntl.LOCK_EX)
                rotate(turn)
                fcntl.flock(lock, fcntl.LOCK_UN)
                turn, polls = turn + 1, 0
    finally:
        writer.wait(120)
        os.close(lock)
    while follow():
        pass
    service.keeper.end()  # else the files change while they are read
    assert turn > len(_AT_ONCE), "there was no time for each kind"
    assert service.cuts > 1
    assert emptied
    assert sorted(followed) == list(range(count))
    found = service.in_files()
    assert [n for n, m in pairwise(found) if n == m] == []
    assert set(range(count)) - set(found) <= emptied
    shown = [int(line.line.split()[0]) for line in run_logs({"crm": log}, count=None).lines]
    assert shown == found
