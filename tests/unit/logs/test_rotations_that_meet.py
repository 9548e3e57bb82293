"""Others truncate, copy or move a log at each step of a rotation by toombos: no line is lost or repeated."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest

from tests.support.log_rotations import copy_and_truncate, move, move_and_create, truncate
from toombos_cli.base import locks
from toombos_cli.logs import foreign_copies, rotation
from toombos_cli.logs.archives import archive_content
from toombos_cli.logs.follower import Follower
from toombos_cli.logs.rotation import LogFile
from toombos_cli.manifest.tables.logs import Logs

STEPS = {
    "copy": "before the archive is copied",
    "copied": "after the archive was copied",
    "recorded": "after the cut was recorded",
    "locked": "when readers wait",
    "synced": "after the log was flushed",
    "collapse": "before the cut",
    "collapsed": "between the cut and its filler",
    "finished": "after the filler was written",
}
OTHERS = {
    "truncate it": truncate,
    "copy and truncate it": copy_and_truncate,
    "move it": move,
    "move it and create another": move_and_create,
}
_LINES = 3000


class Written:
    """A log with numbered lines, one that follows it, and those of its lines that were emptied."""

    def __init__(self, directory: Path) -> None:
        self.log = LogFile(directory / "crm.log", directory / "crm.rotation")
        self.log.path.touch()
        self.count = 0
        self.emptied: set[int] = set()
        self.followed: list[int] = []
        self._follower = Follower(self.log, from_end=False)

    def write(self, count: int) -> None:
        lines = (b"%09d %s\n" % (n, b"x" * (n % 100)) for n in range(self.count, self.count + count))
        with self.log.path.open("ab") as file:
            file.write(b"".join(lines))
        self.count += count

    def follow(self) -> None:
        while lines := self._follower.poll():
            self.followed += numbers(b"\n".join(lines))

    def in_files(self) -> list[int]:
        files = self.log.path.parent.glob("crm.log*")
        return sorted(number for path in files for number in numbers(archive_content(path)))


def numbers(text: bytes) -> list[int]:
    return [int(number) for number in re.findall(rb"^(\d{9})\b", text, re.MULTILINE)]


@contextmanager
def stepped(monkeypatch: pytest.MonkeyPatch, at: Callable[[str], None]) -> Iterator[None]:
    """Call `at` with the name of each step of a rotation."""

    def around(name: str, before: str, after: str, owner: Any) -> None:
        call = getattr(owner, name)

        def work(*args: Any) -> Any:
            at(before)
            done = call(*args)
            at(after)
            return done

        monkeypatch.setattr(owner, name, work)

    hold = locks.hold

    @contextmanager
    def holding(path: Path) -> Iterator[None]:
        at("recorded")
        with hold(path):
            at("locked")
            yield

    with monkeypatch.context():
        around("copy_range", "copy", "copied", rotation)
        around("fdatasync", "", "synced", os)
        around("collapse", "collapse", "collapsed", rotation)
        around("_finish", "", "finished", LogFile)
        monkeypatch.setattr(locks, "hold", holding)
        yield


@pytest.mark.parametrize("others", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("step", STEPS, ids=STEPS.values())
def test_no_line_is_lost_or_repeated_if_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: Callable[[Path], None], step: str
) -> None:
    """Whether there was a rotation before, whatever is written just after, and whether that is followed at once.

    A log that is emptied and grows beyond its cut in the very moment of the cut loses lines; nothing can prevent that.
    """
    monkeypatch.setattr(foreign_copies, "_PATIENCE_S", 0.02)
    most = 7 if step == "collapse" else _LINES - 10
    for rotated, followed_at_once, more in product((False, True), (False, True), sorted({0, 7, most})):
        directory = tmp_path / f"{rotated}-{followed_at_once}-{more}"
        directory.mkdir()
        written = Written(directory)
        if rotated:
            written.write(2000)
            written.follow()
            written.log.rotate(Logs(max_mb=1), time.time() - 5)
        written.write(_LINES)
        written.follow()
        _rotate(written, monkeypatch, others, step, more, followed_at_once=followed_at_once)
        written.log.path.touch()
        for turn in (1, 2):
            written.follow()
            written.write(30)
            written.log.rotate(Logs(max_mb=1), time.time() + turn)
        written.write(20)
        written.follow()
        assert sorted(written.followed) == list(range(written.count)), directory.name
        found = written.in_files()
        assert [n for n, m in pairwise(found) if n == m] == [], directory.name
        assert set(range(written.count)) - set(found) <= written.emptied, directory.name


def _rotate(
    written: Written,
    monkeypatch: pytest.MonkeyPatch,
    others: Callable[[Path], None],
    step: str,
    more: int,
    *,
    followed_at_once: bool,
) -> None:
    """Rotate, and at the step let others work and lines be written."""
    came: list[str] = []

    def at(now: str) -> None:
        if now == step and now not in came:
            came.append(now)
            if others is truncate:
                written.emptied.update(numbers(written.log.path.read_bytes()))
            others(written.log.path)
            written.write(more)
            if followed_at_once and step in ("copy", "copied", "recorded"):
                written.follow()
                written.write(more)
                written.follow()
                copy_and_truncate(written.log.path)  # before the rotation goes on
                written.write(5)

    with stepped(monkeypatch, at):
        written.log.rotate(Logs(max_mb=1), time.time())
    assert came == [step], "the file system of the tests cannot cut a file"
