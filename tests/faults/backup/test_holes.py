"""A file with holes is saved and restored with the same holes, through toombos and through plain tar by RESTORE.txt."""

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from backports import zstd

from tests.support.backup_forge import build, file_entry
from tests.support.backup_site import Site
from tests.support.programs import needs
from toombos_cli.backup.archive import holes
from toombos_cli.backup.archive.format import Entry
from toombos_cli.backup.archive.holes import find_extents, read_extents
from toombos_cli.backup.archive.reader import Archive, read_tail, verify_contents
from toombos_cli.backup.archive.restore_txt import RESTORE_TXT
from toombos_cli.backup.errors import BadArchiveError
from toombos_cli.backup.observer import Silent

KIB, GIB = 1 << 10, 1 << 30
LAYOUTS: dict[str, tuple[int, Sequence[int]]] = {
    "nothing but a hole": (64 * KIB, []),
    "data, then a hole": (64 * KIB, [0]),
    "a hole, then data": (68 * KIB, [64 * KIB]),
    "a hole, then data in part of a block": (64 * KIB + 77, [64 * KIB]),
    "a hole at both ends": (1 << 20, [512 * KIB]),
    "five pieces of data: more than the header holds": (1 << 20, range(0, 640 * KIB, 128 * KIB)),
    "26 pieces of data: more than one block holds": (8 << 20, range(4 * KIB, 8 << 20, 310 * KIB)),
    "a tebibyte": (1 << 40, [9 * GIB, (1 << 40) - 4 * KIB]),
}


def plant(path: Path, size: int, pieces: Sequence[int]) -> None:
    """Create a file of this size with up to 4 KiB of data at each offset."""
    with path.open("wb") as file:
        file.truncate(size)
        for number, offset in enumerate(pieces):
            file.seek(offset)
            file.write(bytes([number % 255 + 1]) * min(4 * KIB, size - offset))
        file.flush()
        os.fsync(file.fileno())


def facts(path: Path) -> tuple[object, ...]:
    """Return size, space on disk, time, data and where it is."""
    with path.open("rb") as file:
        os.fsync(file.fileno())  # only then the file system knows how much space it takes
        status = path.stat()
        extents = find_extents(file.fileno(), status.st_size)
        content = b"".join(read_extents(file.fileno(), extents or ()))
    return status.st_size, status.st_blocks, status.st_mtime_ns, extents, content


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path, Path]:
    """The original tree, the archive, the tree that toombos restored, and the one that tar unpacked."""
    project, by_hand = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("by hand")
    data = project / "data"
    data.mkdir()
    for number, (size, pieces) in enumerate(LAYOUTS.values()):
        plant(data / f"{number}", size, pieces)
    os.link(data / "1", data / "second name")
    site = Site(project, roots=("data",))
    archive = Path(site.backup().archive)
    needs("zstd")
    subprocess.run([needs("tar"), "--zstd", "-xpf", archive, "-C", by_hand], check=True)
    data.rename(project / "original")
    site.restore(archive)
    return project / "original", archive, data, by_hand / "data"


@pytest.mark.parametrize("number", range(len(LAYOUTS)), ids=LAYOUTS.keys())
def test_a_file_keeps_its_holes(saved: tuple[Path, Path, Path, Path], number: int) -> None:
    original, _, restored, by_hand = saved
    expected = facts(original / f"{number}")
    assert expected[3] is not None
    assert facts(restored / f"{number}") == expected
    assert facts(by_hand / f"{number}") == expected


def test_an_archive_of_holes_is_small_and_named_a_newer_format(saved: tuple[Path, Path, Path, Path]) -> None:
    _, archive, restored, _ = saved
    assert archive.stat().st_size < 100_000
    assert read_tail(archive).min_reader == 4
    with Archive(archive) as opened:
        verify_contents(opened, Silent())
    assert (restored / "1").samefile(restored / "second name")


def test_other_programs_read_an_archive_with_holes(saved: tuple[Path, Path, Path, Path], tmp_path: Path) -> None:
    original, archive, _, _ = saved
    numbers = [n for n, (size, _) in enumerate(LAYOUTS.values()) if size < GIB]
    with zstd.open(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            if member.name in {f"data/{n}" for n in numbers}:
                tar.extract(member, tmp_path, filter="data")
    for number in numbers:
        assert (tmp_path / "data" / f"{number}").read_bytes() == (original / f"{number}").read_bytes()


def test_the_check_of_restore_txt_finds_a_difference_in_a_file_with_holes(tmp_path: Path) -> None:
    project, by_hand = tmp_path / "project", tmp_path / "by hand"
    (project / "data").mkdir(parents=True)
    by_hand.mkdir()
    for number, (size, pieces) in enumerate(LAYOUTS.values()):
        plant(project / "data" / f"{number}", size, pieces)
    subprocess.run(
        [needs("tar"), "--zstd", "-xpf", Site(project, roots=("data",)).backup().archive, "-C", by_hand], check=True
    )
    script = RESTORE_TXT.partition('cd restored && python3 -c "')[2].partition('"\n')[0]
    script = "\n".join(line.removeprefix("    ") for line in script.splitlines())
    check = [sys.executable, "-c", script]
    assert subprocess.run(check, cwd=by_hand, capture_output=True, text=True, check=True).stdout == ""
    with (by_hand / "data" / "4").open("r+b") as file:
        file.seek(512 * KIB)
        file.write(b"rot")
    assert "data/4" in subprocess.run(check, cwd=by_hand, capture_output=True, text=True, check=True).stdout


def fill(path: Path) -> None:
    """Write zeros where the holes are."""
    path.write_bytes(path.read_bytes())


CHANGES: dict[str, tuple[Callable[[Path], object], bool]] = {
    "nothing": (lambda path: None, False),
    "its holes are filled with zeros": (fill, False),
    "its data": (lambda path: write_at(path, 512 * KIB, b"x"), True),
    "data in a hole": (lambda path: write_at(path, 4 * KIB, b"x"), True),
    "its size": (lambda path: os.truncate(path, 1 << 21), True),
}


@pytest.mark.parametrize(("change", "differs"), CHANGES.values(), ids=CHANGES.keys())
def test_a_preview_compares_what_a_file_contains(
    tmp_path: Path, change: Callable[[Path], object], differs: bool
) -> None:
    site = Site(tmp_path, roots=("data",))
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "file"
    plant(path, *LAYOUTS["a hole at both ends"])
    archive = site.backup().archive
    change(path)
    assert site.restore(archive, preview=True).changed == (("data/file",) if differs else ())


def write_at(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def test_the_smallest_holes_are_filled_if_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holes, "MOST_EXTENTS", 3)
    site = Site(tmp_path, roots=("data",))
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "file"
    plant(path, 1 << 20, [8 * KIB, 128 * KIB, 144 * KIB, 512 * KIB, 900 * KIB])
    before = path.read_bytes()
    archive = Path(site.backup().archive)
    with Archive(archive) as opened:
        assert opened.manifest.entries[-1].data == (
            (8 * KIB, 140 * KIB),
            (512 * KIB, 4 * KIB),
            (900 * KIB, 4 * KIB),
        )
    path.unlink()
    site.restore(archive)
    assert path.read_bytes() == before


def test_a_file_that_changes_while_it_is_read_does_not_break_the_archive(tmp_path: Path) -> None:
    """Its holes are filled, or it is cut off, between the look at its holes and the reading."""

    class Changing(Silent):
        def advance(self, size_bytes: int) -> None:
            if size_bytes == 4 * KIB:
                os.truncate(path, 8 * KIB)

    site = Site(tmp_path, roots=("data",))
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "file"
    plant(path, 1 << 20, [0, 64 * KIB, 512 * KIB])
    report = site.backup(Changing())
    assert [one.reason for one in report.flagged] == ["shrunk"]
    with Archive(Path(report.archive)) as opened:
        verify_contents(opened, Silent())


HOSTILE = {
    "overlap": ((0, 1024), (512, 512)),
    "run backwards": ((1024, 512), (0, 512)),
    "end beyond the file": ((4096, 1024),),
    "are empty": ((0, 0),),
    "end within a block": ((0, 100), (512, 512)),
    "begin before the file": ((-512, 512),),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_archive_whose_pieces_are_impossible_is_refused(tmp_path: Path, data: tuple[tuple[int, int], ...]) -> None:
    content = bytes(max(0, sum(length for _, length in data)))
    entry = file_entry("data/x", content, data=data, size=4608)
    with pytest.raises(BadArchiveError, match="holes"):
        Archive(build(tmp_path / "hostile", [(Entry(path="data", type="dir", mode=0o755), b""), (entry, content)]))
