"""Bit rot, truncation and newer formats: detected and refused before anything is changed."""

import random
from pathlib import Path

import msgspec
import pytest

from tests.support.backup_forge import forge
from tests.support.backup_site import Site
from toombos_cli.backup.archive.reader import Archive, verify_contents
from toombos_cli.backup.directory.store import list_archives
from toombos_cli.backup.errors import BadArchiveError, NewerArchiveError
from toombos_cli.backup.maintenance import verify_archives
from toombos_cli.backup.observer import Silent
from toombos_cli.base.results import Verdict

BIT_FLIPS = 400


def verify(path: Path) -> None:
    with Archive(path) as archive:
        verify_contents(archive, Silent())


def test_each_of_400_random_bit_flips_is_detected(tmp_path: Path) -> None:
    site = Site(tmp_path).fill()
    path = Path(site.backup().archive)
    sound = path.read_bytes()
    draw = random.Random(7)
    for _ in range(BIT_FLIPS):
        damaged = bytearray(sound)
        bit = draw.randrange(len(sound) * 8)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises((BadArchiveError, NewerArchiveError)):
            verify(path)


def test_a_flipped_bit_leaves_the_live_tree_alone(tmp_path: Path) -> None:
    site = Site(tmp_path).fill()
    path = Path(site.backup().archive)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    path.write_bytes(damaged)
    site.write("data/deep/note.txt", "the present")
    before = site.tree()
    with pytest.raises(BadArchiveError) as raised:
        site.restore(path)
    assert raised.value.exit_code == 1
    assert site.tree() == before
    assert verify_archives(site.place, (), Silent()).verdict is Verdict.FAIL


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99, None], ids=["nothing", "1 %", "half", "99 %", "all but a byte"])
def test_a_truncated_archive_is_skipped_in_favour_of_the_previous_one(tmp_path: Path, kept: float | None) -> None:
    site = Site(tmp_path).fill("first")
    good = site.backup().archive
    site.fill("second")
    newest = Path(site.backup().archive)
    content = newest.read_bytes()
    newest.write_bytes(content[: -1 if kept is None else int(len(content) * kept)])
    with pytest.raises(BadArchiveError):
        site.restore(newest)
    report = site.restore()
    assert report.restored_from == good
    assert not site.place.journal.exists()


def test_an_archive_with_damaged_content_and_an_intact_index_is_skipped_too(tmp_path: Path) -> None:
    """The index is intact, so only unpacking reveals the damage."""
    site = Site(tmp_path).fill("first")
    older, newer = Path(site.backup().archive), Path(site.backup().archive)
    damaged = bytearray(newer.read_bytes())
    damaged[1000] ^= 1
    newer.write_bytes(damaged)
    report = site.restore()
    assert report.restored_from == str(older)
    assert [one.path for one in report.passed_over] == [str(newer)]


def test_an_archive_that_needs_a_newer_toombos_is_refused_with_a_workaround(tmp_path: Path) -> None:
    site = Site(tmp_path).fill()
    path = Path(site.backup().archive)
    forge(path, tail=lambda tail: msgspec.structs.replace(tail, min_reader=9))
    before = site.tree()
    with pytest.raises(NewerArchiveError, match="format 9") as raised:
        site.restore(path)
    assert "tar --zstd --xattrs" in (raised.value.problems[0].hint or "")
    assert site.tree() == before


def test_a_checksum_file_that_differs_fails_the_verification(tmp_path: Path) -> None:
    site = Site(tmp_path).fill()
    path = Path(site.backup().archive)
    beside = path.with_name(path.name + ".sha256")
    beside.write_text(
        beside.read_text().replace(beside.read_text()[0], "0" if beside.read_text()[0] != "0" else "1", 1)
    )
    assert verify_archives(site.place, (path,), Silent()).archives[0].verdict is Verdict.FAIL


def test_an_archive_that_changed_after_its_verification_counts_as_unverified(tmp_path: Path) -> None:
    site = Site(tmp_path).fill()
    path = Path(site.backup().archive)
    assert list_archives(site.place)[0].known_good
    content = path.read_bytes()
    path.write_bytes(content)
    assert not list_archives(site.place)[0].verified
    verify_archives(site.place, (), Silent())
    assert list_archives(site.place)[0].known_good
