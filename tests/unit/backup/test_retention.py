"""Which archives stay in the backup directory: one row per rule."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.backup_site import Site
from toombos_cli.backup.directory.retention import decide
from toombos_cli.backup.directory.store import ArchiveInfo, newest_known_good, restore_candidates
from toombos_cli.base.errors import RefusedError
from toombos_cli.manifest.tables.backup import Retention

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOTHING = {"last": 0, "daily": 0, "weekly": 0, "monthly": 0, "keep_within_days": 0}


def archive(age_days: float, **facts: object) -> ArchiveInfo:
    """Return an archive that is good except for `facts`; its name is its age."""
    known = {"verified": True, "known_good": True, "pinned": False, "kind": "regular", "problem": ""} | facts
    return ArchiveInfo(
        path=Path(f"{age_days:g}"),
        created_at=NOW - timedelta(days=age_days),
        size_bytes=1,
        files=1,
        data_bytes=1,
        encrypted=False,
        **known,  # type: ignore[arg-type]  # the fields above
    )


BAD = {"verified": False, "known_good": False, "problem": "damaged"}
INCOMPLETE = {"known_good": False, "problem": "a file could not be read"}
UNVERIFIED = {"verified": False, "known_good": False}

CASES = {
    "the newest two": (Retention(last=2, daily=0), [archive(d) for d in (1, 2, 3)], {"1", "2"}),
    "the newest of each day": (
        Retention(last=0, daily=2),
        [archive(d) for d in (0.1, 0.2, 1.1, 1.2, 2.1)],
        {"0.1", "1.1"},
    ),
    "a day without a backup does not count": (
        Retention(last=0, daily=3),
        [archive(d) for d in (0.1, 20.1, 40.1, 60.1)],
        {"0.1", "20.1", "40.1"},
    ),
    "the newest of each week": (Retention(last=0, daily=0, weekly=2), [archive(d) for d in (0, 1, 8, 15)], {"0", "1"}),
    "the newest of each month": (
        Retention(last=0, daily=0, monthly=2),
        [archive(d) for d in (1, 2, 30, 31, 70)],
        {"1", "30"},
    ),
    "all archives of the last three days": (
        Retention(last=0, daily=0, keep_within_days=3),
        [archive(d) for d in (1, 2, 2.9, 3.1)],
        {"1", "2", "2.9"},
    ),
    "a bad archive does not displace a good one": (Retention(last=1, daily=0), [archive(1, **BAD), archive(2)], {"2"}),
    "an incomplete archive does not displace a good one, and stays as the newest": (
        Retention(last=1, daily=0),
        [archive(1, **INCOMPLETE), archive(2)],
        {"1", "2"},
    ),
    "an archive not verified here stays": (
        Retention(last=1, daily=0),
        [archive(1), archive(2, **UNVERIFIED), archive(3)],
        {"1", "2"},
    ),
    "a pinned archive stays and does not count": (
        Retention(last=1, daily=0),
        [archive(1, pinned=True), archive(2), archive(3)],
        {"1", "2"},
    ),
    "an archive from the future stays and does not count": (
        Retention(last=1, daily=0),
        [archive(-365), archive(2), archive(3)],
        {"-365", "2"},
    ),
    "nothing is removed if no archive is good": (
        Retention(last=1, daily=0),
        [archive(1, **BAD), archive(2, **BAD)],
        {"1", "2"},
    ),
    "the newest good archive stays after a year without backups": (
        Retention(last=0, daily=0, keep_within_days=30),
        [archive(405), archive(406)],
        {"405"},
    ),
    "a safety backup is never the newest good": (
        Retention(last=0, daily=0, keep_within_days=1),
        [archive(2, kind="safety", pinned=True), archive(3)],
        {"2", "3"},
    ),
}


@pytest.mark.parametrize(("policy", "archives", "kept"), CASES.values(), ids=CASES.keys())
def test_the_policy_keeps(policy: Retention, archives: Sequence[ArchiveInfo], kept: set[str]) -> None:
    decisions = decide(archives, policy, NOW)
    assert {str(one.path) for one in decisions if one.keep} == kept
    assert all(one.reasons for one in decisions)


def test_a_policy_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(RefusedError):
        decide([archive(1)], Retention(**NOTHING), NOW)


def test_the_newest_good_archive_is_never_bad_a_safety_backup_or_from_the_future() -> None:
    archives = [archive(-9), archive(1, **BAD), archive(2, kind="safety"), archive(3), archive(4)]
    newest = newest_known_good(archives, NOW)
    assert newest is not None
    assert str(newest.path) == "3"


def test_a_restore_tries_unverified_archives_and_archives_from_the_future_last() -> None:
    archives = [archive(-9), archive(1, **UNVERIFIED), archive(2, **BAD), archive(3)]
    assert [str(info.path) for info in restore_candidates(archives, NOW)] == ["1", "3", "-9"]


def test_an_emergency_backup_is_the_last_resort() -> None:
    archives = [archive(-9), archive(1, kind="emergency"), archive(3)]
    assert [str(info.path) for info in restore_candidates(archives, NOW)] == ["3", "-9", "1"]


def test_a_checksum_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    site = Site(tmp_path).fill()
    archive = Path(site.backup().archive)
    foreign = archive.with_name("photos.zip.sha256")
    orphan = archive.with_name("toombos-20260101T000000Z-0000.tar.zst.sha256")
    for path in (foreign, orphan):
        path.write_text("x")
    site.backup()
    assert foreign.exists()
    assert not orphan.exists()
