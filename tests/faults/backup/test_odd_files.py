"""Odd files in a root: each is stored, or named while all else is saved, and none blocks the next restore."""

# Names are raw bytes, which pathlib does not accept.
# ruff: noqa: PTH102, PTH108, PTH112, PTH118, PTH211
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.backup_site import Site, snapshot_tree
from tests.support.programs import needs
from toombos_cli.backup.archive.reader import Archive, read_tail
from toombos_cli.backup.archive.restore_txt import RESTORE_TXT
from toombos_cli.backup.inode_flags import clear_flags, flags_of, set_flags
from toombos_cli.base.errors import RefusedError
from toombos_cli.base.results import Verdict

YEAR_2300, YEAR_2446, YEAR_1901 = 10_413_792_000, 15_032_385_535, -(2**31)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "project").mkdir()
    site = Site(tmp_path / "project").fill()
    (site.project / "data" / "history.db").unlink()
    yield site
    for directory, names, files in os.walk(tmp_path):
        for name in (*names, *files):
            path = os.fsencode(os.path.join(directory, name))
            if flags_of(path):
                clear_flags(path)


def at_time(seconds: int) -> Callable[[Path], None]:
    """Set the time of a file, a directory and a link."""

    def make(data: Path) -> None:
        (data / "link").symlink_to("deep")
        for path in (data / "deep" / "note.txt", data / "deep", data / "link"):
            os.utime(path, ns=(0, seconds * 10**9 + 123_456_789), follow_symlinks=False)

    return make


def link_to(target: str) -> Callable[[Path], None]:
    return lambda data: (data / "deep" / "link").symlink_to(target)


def hard_links(data: Path) -> None:
    for name in ("a", "z", "deep/y"):
        (data / name).hardlink_to(data / "deep" / "note.txt")
    (data.parent / "logs" / "name").hardlink_to(data / "a")


def fifo(data: Path) -> None:
    os.mkfifo(data / "fifo", 0o640)


def deep_directories(data: Path) -> None:
    directory = data / "/".join(["d" * 100] * 15)
    directory.mkdir(parents=True)
    (directory / "file").write_text("x")


def odd_names(data: Path) -> None:
    for name in (b"caf\xe9", b"new\nline", b"-rf", b"n" * 255, b" ", b"\\", b"\xff" * 200):
        Path(os.fsdecode(os.fsencode(data) + b"/" + name)).write_text("x")


def unwritable(data: Path) -> None:
    (data / "deep" / "note.txt").chmod(0)
    (data / "deep").chmod(0o500)


STORED: dict[str, Callable[[Path], None]] = {
    "a time in 2300": at_time(YEAR_2300),
    "the last time of ext4": at_time(YEAR_2446),
    "the first time of ext4": at_time(YEAR_1901),
    "the end of 32 bits": at_time(2**31),
    "a link to an absolute path": link_to("/etc/hostname"),
    "a link out of its root": link_to("../../../elsewhere"),
    "a link with .. after a name": link_to("a/../b"),
    "a link to nothing": link_to("gone"),
    "a link to itself": link_to("link"),
    "a link of 4000 bytes": link_to("x/" * 2000),
    "four names of one file, in two roots": hard_links,
    "a fifo": fifo,
    "deep directories": deep_directories,
    "odd names": odd_names,
    "closed modes": unwritable,
}


@pytest.mark.parametrize("make", STORED.values(), ids=STORED)
def test_what_a_tree_can_hold_is_stored_and_restored_exactly(site: Site, tmp_path: Path, make: Callable[[Path], None]):
    make(site.project / "data")
    before = site.tree()
    report = site.backup()
    assert report.known_good
    assert report.unreadable == ()
    assert by_hand(report.archive, tmp_path) == before
    shutil.rmtree(site.project / "data")
    shutil.rmtree(site.project / "logs")
    restored = site.restore(report.archive)
    assert restored.not_set == ()
    assert site.tree() == before
    preview = site.restore(report.archive, preview=True)
    assert (preview.added, preview.changed, preview.removed) == ((), (), ())
    site.fill("new")
    site.restore(report.archive)
    assert {name for name in site.tree() if name != b"data/history.db"} == set(before)


def by_hand(archive: str, tmp_path: Path) -> dict[bytes, tuple[object, ...]]:
    """Return the tree that the commands of RESTORE.txt unpack."""
    needs("tar")
    needs("zstd")
    command = next(line for line in RESTORE_TXT.splitlines() if "-C restored" in line)
    (tmp_path / "restored").mkdir()
    subprocess.run(["sh", "-c", command.replace("ARCHIVE", archive)], cwd=tmp_path, check=True)
    return snapshot_tree(tmp_path / "restored", leave_out=(b"manifest.json", b"RESTORE.txt", b"toombos-backup.json"))


def test_a_time_that_no_64_bits_of_nanoseconds_hold_needs_a_newer_reader(site: Site):
    plain = site.backup().archive
    at_time(YEAR_2300)(site.project / "data")
    far = site.backup().archive
    assert [read_tail(Path(path)).min_reader for path in (plain, far)] == [1, 3]


def test_several_names_of_a_file_are_stored_once(site: Site):
    (site.project / "data" / "big").write_bytes(os.urandom(5 << 20))
    once = site.backup()
    for name in ("b", "c", "d", "e"):
        (site.project / "data" / name).hardlink_to(site.project / "data" / "big")
    more = site.backup()
    assert more.data_bytes == once.data_bytes
    assert more.size_bytes < once.size_bytes + 10_000
    assert more.files == once.files + 4


@pytest.mark.parametrize("only", ["data/z", "data/deep", "logs/name"])
def test_one_of_several_names_is_restored_with_its_content(site: Site, only: str):
    hard_links(site.project / "data")
    before = site.tree()
    archive = site.backup().archive
    for name in ("data", "logs"):
        shutil.rmtree(site.project / name)
    (site.project / "data").mkdir()
    (site.project / "logs").mkdir()
    site.restore(archive, only=(only,))
    found = {name: facts[:4] for name, facts in site.tree().items() if name.startswith(os.fsencode(only))}
    assert found == {name: facts[:4] for name, facts in before.items() if name.startswith(os.fsencode(only))}
    assert not list(site.project.rglob(".name-*"))


def vanish(path: bytes) -> None:
    os.unlink(path)


def become_a_directory(path: bytes) -> None:
    os.unlink(path)
    os.mkdir(path)


@pytest.mark.parametrize("kind", ["file", "link", "fifo"])
@pytest.mark.parametrize("happens", [vanish, become_a_directory], ids=["vanishes", "becomes a directory"])
def test_what_changes_while_the_tree_is_read_does_not_stop_the_backup(
    site: Site, kind: str, happens: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
):
    odd = os.fsencode(site.project / "data" / "odd")
    {
        "file": lambda: Path(os.fsdecode(odd)).write_text("x"),
        "link": lambda: os.symlink("x", odd),
        "fifo": lambda: os.mkfifo(odd),
    }[kind]()
    real_readlink, real_open = os.readlink, os.open

    def first(call: Callable[..., object]) -> Callable[..., object]:
        def wrapped(path: object, *args: object, **more: object) -> object:
            if path == odd and os.path.lexists(odd) and not os.path.isdir(odd):
                happens(odd)
            return call(path, *args, **more)

        return wrapped

    monkeypatch.setattr("os.readlink", first(real_readlink))
    monkeypatch.setattr("os.open", first(real_open))
    report = site.backup()
    monkeypatch.undo()
    with Archive(Path(report.archive)) as archive:
        names = {entry.path for entry in archive.manifest.entries}
    assert {"data/deep/note.txt", "logs/app.log"} <= names


def test_a_path_that_is_too_long_is_named_and_all_else_is_saved(site: Site):
    here = os.open(site.project / "data", os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 240, dir_fd=here)
        below = os.open("d" * 240, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    report = site.backup()
    assert report.archive
    assert report.verdict is Verdict.ERROR
    (one,) = report.unreadable
    assert one.path.startswith("data/dddd")


def test_a_socket_is_left_out_and_stays(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(site.project / "data")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        report = site.backup()
        site.restore(report.archive)
    assert report.known_good
    assert (site.project / "data" / "s").is_socket()


FLAGS = [("immutable",), ("append-only",), ("immutable", "append-only")]


def flag(path: Path, flags: tuple[str, ...]) -> None:
    try:
        set_flags(os.fsencode(path), flags)
    except OSError as error:
        pytest.skip(f"flags are not allowed here: {error}")


@pytest.mark.parametrize("flags", FLAGS, ids=" and ".join)
@pytest.mark.parametrize("name", ["data/deep/note.txt", "data/deep"])
def test_a_flagged_file_is_restored_with_its_flags_as_often_as_one_likes(site: Site, name: str, flags: tuple[str, ...]):
    flag(site.project / name, flags)
    before = site.tree()
    archive = site.backup().archive
    site.write("data/added", "x")
    for _ in range(2):
        report = site.restore(archive)
        assert report.replaced_at is None
        assert report.not_set == ()
        assert flags_of(os.fsencode(site.project / name)) == flags
        assert site.tree() == before


@pytest.mark.parametrize("name", [".env", "data"])
def test_a_flagged_root_is_refused_before_anything_with_the_command_that_helps(site: Site, name: str):
    archive = site.backup().archive
    flag(site.project / name, ("immutable",))
    before = site.tree()
    with pytest.raises(RefusedError, match=f"'{name}' is immutable") as raised:
        site.restore(archive)
    assert raised.value.problems[0].hint == f"chattr -ia {site.project / name}"
    assert site.tree() == before
    assert len(site.archives()) == 1


def test_replaced_files_that_cannot_be_removed_are_kept_and_named(site: Site, monkeypatch: pytest.MonkeyPatch):
    archive = site.backup().archive
    real = os.unlink

    def refuse(path: object, **more: object) -> None:
        if path == b"note.txt":
            raise PermissionError(1, "Operation not permitted")
        real(path, **more)  # type: ignore[arg-type]  # as os.unlink takes it

    monkeypatch.setattr("os.unlink", refuse)
    report = site.restore(archive)
    monkeypatch.undo()
    assert report.verdict is Verdict.WARN
    assert report.replaced_at is not None
    assert report.replaced_at.endswith("-replaced")
    assert site.restore(archive).replaced_at is None


CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service, linux/capability.h


def test_file_capabilities_are_not_set_again_and_the_report_says_so(site: Site):
    tool = site.project / "data" / "tool"
    tool.write_text("x")
    tool.chmod(0o755)
    try:
        os.setxattr(tool, "security.capability", CAPABILITY)
    except OSError as error:
        pytest.skip(f"capabilities are not allowed here: {error}")
    archive = site.backup().archive
    for preview in (True, False):
        report = site.restore(archive, preview=preview)
        assert [(one.path, one.what) for one in report.not_set] == [("data/tool", "the file capabilities")]
        assert report.verdict is Verdict.WARN
