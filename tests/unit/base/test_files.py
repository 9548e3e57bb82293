"""Files are complete or absent, and private under any umask; crashes do not pile up leftovers."""

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.waiting import wait_for
from toombos_cli.base import locks
from toombos_cli.base.directories import make_private_directory
from toombos_cli.base.files import (
    append_line,
    create_file,
    open_to_append,
    replace_file,
    replacing,
    take_lines,
)

_WRITER = """
import sys
from pathlib import Path
from toombos_cli.base.files import {write}
print("started", flush=True)
for number in range(10**9):
    path = Path(sys.argv[1]{of_number})
    {write}(path, b"%d" % (number % 10) * 20_000 {durable})
"""


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=lambda mask: f"umask {mask:03o}")
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    old = os.umask(request.param)
    yield request.param
    os.umask(old)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda path: replace_file(path, b"1", durable=True), id="a durable file"),
        pytest.param(lambda path: replace_file(path, b"1", durable=False), id="a file that is not durable"),
        pytest.param(lambda path: create_file(path, b"1"), id="a new file"),
    ],
)
def test_a_file_and_its_directories_are_private_under_any_umask(
    tmp_path: Path, umask: int, write: Callable[[Path], None]
) -> None:
    path = tmp_path / "a" / "b" / "file"
    write(path)
    assert (mode_of(path), mode_of(path.parent), mode_of(path.parent.parent)) == (0o600, 0o700, 0o700)
    assert path.read_bytes() == b"1"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_is_not_private_follows_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        create_file(tmp_path / "toombos.toml", b"", mode=None)
    finally:
        os.umask(old)
    assert mode_of(tmp_path / "toombos.toml") == 0o640


def test_a_replaced_file_gets_the_given_mode_and_owner(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    owner = (12345, 12345) if os.geteuid() == 0 else (os.getuid(), os.getgid())
    replace_file(path, b"1", durable=True, mode=0o640, owner=owner)
    assert (mode_of(path), path.stat().st_uid, path.stat().st_gid) == (0o640, *owner)


@pytest.mark.parametrize("failing", ["write", "fsync"])
def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path, failing: str) -> None:
    path = tmp_path / "state.json"
    replace_file(path, b"old", durable=True)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="No space left"):  # noqa: PT012
        patch.setattr(os, "fsync", fail if failing == "fsync" else os.fsync)
        with replacing(path, durable=True) as file:
            file.write(b"new")
            if failing == "write":
                fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_never_replaces_an_existing_one(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        create_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", ["replace_file", "create_file"])
def test_a_writer_killed_at_any_moment_leaves_complete_files_and_one_leftover_at_most(
    tmp_path: Path, write: str
) -> None:
    path = tmp_path / "file"
    code = _WRITER.format(
        write=write,
        of_number=" + str(number)" if write == "create_file" else "",
        durable=", durable=False" if write == "replace_file" else "",
    )
    for _ in range(12):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            wait_for(lambda: any(tmp_path.iterdir()), what="a first file")
            process.send_signal(signal.SIGKILL)
        for found in tmp_path.iterdir():
            content = found.read_bytes()
            assert found.suffix == ".partial" or content == content[:1] * 20_000
        leftovers = [found for found in tmp_path.iterdir() if found.suffix == ".partial"]
        assert len(leftovers) <= 1, "a crash left more than one file"
        for leftover in leftovers:
            target = tmp_path / leftover.name.removeprefix(".").removesuffix(".partial")
            replace_file(target, b"next", durable=False)
            assert target.read_bytes() == b"next"
            assert not leftover.exists()
        for found in tmp_path.iterdir():
            found.unlink()


def test_a_partial_file_that_is_a_hard_link_after_a_crash_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"first")
    (tmp_path / "..env.partial").hardlink_to(path)
    kept = tmp_path / "kept"
    kept.hardlink_to(path)
    replace_file(path, b"second", durable=True)
    assert (path.read_bytes(), kept.read_bytes()) == (b"second", b"first")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_partial_file_of_another_user_is_removed_and_not_written_to(tmp_path: Path) -> None:
    partial = tmp_path / ".file.partial"
    partial.touch()
    os.chown(partial, 12345, 12345)
    before = partial.open("rb")
    replace_file(tmp_path / "file", b"secret", durable=True)
    with before:
        assert before.read() == b""
    assert (tmp_path / "file").stat().st_uid == 0


def test_a_symbolic_link_in_place_of_the_partial_file_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / ".file.partial").symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic link"):
        replace_file(tmp_path / "file", b"secret", durable=True)
    assert not elsewhere.exists()


def test_concurrent_writers_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def write(digit: bytes) -> None:
        for _ in range(200):
            replace_file(path, digit * 5000, durable=False)

    writers = [threading.Thread(target=write, args=(b"%d" % number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            content = path.read_bytes()
            assert content == content[:1] * 5000
    for writer in writers:
        writer.join()
    assert list(tmp_path.iterdir()) == [path]


def test_the_partial_file_is_locked_during_a_write(tmp_path: Path) -> None:
    with replacing(tmp_path / "archive", durable=True) as file:
        file.write(b"half")
        assert locks.is_held(tmp_path / ".archive.partial")
    assert (tmp_path / "archive").read_bytes() == b"half"


def test_lines_of_several_writers_never_mix_and_are_never_lost(tmp_path: Path) -> None:
    spool, aside = tmp_path / "a" / "spool", tmp_path / "a" / "taken"
    letters = "abcd"

    def write(letter: str) -> None:
        for number in range(300):
            append_line(spool, f"{letter * 200}{number}".encode())

    writers = [threading.Thread(target=write, args=(letter,)) for letter in letters]
    for writer in writers:
        writer.start()
    taken: list[bytes] = []
    while any(writer.is_alive() for writer in writers) or spool.exists():
        lines = take_lines(spool, aside)
        taken += lines
        aside.unlink(missing_ok=True)
    assert sorted(taken) == sorted(f"{letter * 200}{number}".encode() for letter in letters for number in range(300))
    assert mode_of(tmp_path / "a") == 0o700


def test_lines_that_an_earlier_reader_set_aside_come_first(tmp_path: Path) -> None:
    spool, aside = tmp_path / "spool", tmp_path / "taken"
    append_line(spool, b"one")
    assert take_lines(spool, aside) == (b"one",)
    append_line(spool, b"two")
    assert take_lines(spool, aside) == (b"one",)
    aside.unlink()
    assert take_lines(spool, aside) == (b"two",)
    aside.unlink()
    assert take_lines(spool, aside) == ()


def test_a_file_opened_to_append_is_private_and_keeps_its_content(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "crm.log"
    for text in (b"one\n", b"two\n"):
        fd = open_to_append(path)
        os.write(fd, text)
        os.close(fd)
    assert (path.read_bytes(), mode_of(path), mode_of(path.parent)) == (b"one\ntwo\n", 0o600, 0o700)


def test_an_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private_directory(tmp_path / "new")
    make_private_directory(tmp_path)
    assert (mode_of(tmp_path), mode_of(tmp_path / "new")) == (0o755, 0o700)
