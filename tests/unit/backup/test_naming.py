"""Archive names contain their time, sort by it, and are never used twice."""

from datetime import UTC, datetime
from pathlib import Path

from toombos_cli.backup.directory.naming import created_at, new_path

AT = datetime(2026, 11, 23, 22, 42, 43, tzinfo=UTC)


def test_two_archives_of_the_same_second_get_different_names(tmp_path: Path):
    draws = iter(["1f0a", "1f0a", "1f0a", "2b3c"])
    first = new_path(tmp_path, AT, draw=lambda: next(draws))
    first.touch()
    second = new_path(tmp_path, AT, draw=lambda: next(draws))
    assert first.name == "toombos-20261123T224243Z-1f0a.tar.zst"
    assert second.name == "toombos-20261123T224243Z-2b3c.tar.zst"


def test_a_name_contains_the_time_of_its_archive(tmp_path: Path):
    assert created_at(new_path(tmp_path, AT).name) == AT
    assert created_at(new_path(tmp_path, AT, encrypted=True).name) == AT
    assert created_at("toombos-20261399T224243Z-1f0a.tar.zst") is None
    assert created_at("holiday.tar.zst") is None
