"""Swapping two paths and swapping them back, by exchange or by renames, with interruptions at any point."""

# The product's paths are raw bytes, which pathlib does not take.
# ruff: noqa: PTH104

import os
from pathlib import Path

import msgspec
import pytest

from toombos_cli.backup.transaction import atomic_swap
from toombos_cli.backup.transaction.atomic_swap import SwapUnit, identity, swap, swap_back
from toombos_cli.base.errors import OperationError


def make_unit(tmp_path: Path, *, live: bool = True, staged: bool = True) -> SwapUnit:
    for name, wanted in (("live", live), ("staged", staged)):
        if wanted:
            (tmp_path / name).mkdir()
            (tmp_path / name / "content").write_text(name)
    paths = {name: os.fsencode(tmp_path / name) for name in ("live", "staged", "aside")}
    return SwapUnit(**paths, live_id=identity(paths["live"]), staged_id=identity(paths["staged"]))


def live_content(tmp_path: Path) -> str | None:
    path = tmp_path / "live" / "content"
    return path.read_text() if path.exists() else None


KINDS = {
    "a path that is replaced": ({}, "staged", "live"),
    "a path that is added": ({"live": False}, "staged", None),
    "a path that is removed": ({"staged": False}, None, "live"),
}


@pytest.mark.parametrize("atomic", [True, False], ids=["exchange", "two renames"])
@pytest.mark.parametrize(("shape", "new", "old"), KINDS.values(), ids=KINDS.keys())
def test_a_swap_can_be_swapped_back(
    tmp_path: Path, shape: dict[str, bool], new: str | None, old: str | None, atomic: bool
) -> None:
    unit = make_unit(tmp_path, **shape)
    swap(unit, atomic=atomic)
    assert live_content(tmp_path) == new
    swap_back(unit)
    assert live_content(tmp_path) == old
    swap_back(unit)
    assert live_content(tmp_path) == old


def test_a_swap_interrupted_between_its_renames_is_undone(tmp_path: Path) -> None:
    unit = make_unit(tmp_path)
    os.rename(unit.live, unit.aside)
    swap_back(unit)
    assert live_content(tmp_path) == "live"


def test_swapping_back_by_renames_can_be_interrupted_at_any_point_and_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the kernel cannot exchange two paths, swapping back takes three renames."""
    monkeypatch.setattr(atomic_swap, "_renameat2", lambda: None)
    for steps_done in range(4):
        place = tmp_path / str(steps_done)
        place.mkdir()
        unit = make_unit(place)
        os.rename(unit.live, unit.aside)
        os.rename(unit.staged, unit.live)
        os.rename(unit.aside, unit.staged)  # as the exchange leaves it
        steps = [(unit.staged, unit.aside), (unit.live, unit.staged), (unit.aside, unit.live)]
        for source, target in steps[:steps_done]:
            os.rename(source, target)
        swap_back(unit)
        assert live_content(place) == "live"


@pytest.mark.parametrize("atomic", [True, False], ids=["exchange", "two renames"])
def test_a_swap_is_undone_after_a_reboot_that_changed_the_device_numbers(tmp_path: Path, atomic: bool) -> None:
    unit = make_unit(tmp_path)
    swap(unit, atomic=atomic)
    swap_back(after_reboot(unit))
    assert live_content(tmp_path) == "live"


def test_nothing_is_moved_if_old_and_new_cannot_be_distinguished(tmp_path: Path) -> None:
    unit = make_unit(tmp_path)
    swap(unit)
    unknown = msgspec.structs.replace(unit, live_id=(1, 1), staged_id=(1, 2))
    with pytest.raises(OperationError, match="cannot be distinguished"):
        swap_back(unknown)
    assert live_content(tmp_path) == "staged"
    assert (tmp_path / "staged" / "content").read_text() == "live"


def test_a_file_put_in_place_before_its_swap_stays(tmp_path: Path) -> None:
    unit = make_unit(tmp_path)
    os.rename(unit.live, tmp_path / "before")
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "content").write_text("edited")
    swap_back(unit)
    assert live_content(tmp_path) == "edited"


def after_reboot(unit: SwapUnit) -> SwapUnit:
    """Return the unit as a journal describes it if its file system had another device number."""
    assert unit.live_id is not None
    assert unit.staged_id is not None
    other = unit.live_id[0] + 7
    return msgspec.structs.replace(unit, live_id=(other, unit.live_id[1]), staged_id=(other, unit.staged_id[1]))


def test_linux_exchanges_two_paths_in_one_step() -> None:
    if not hasattr(os, "uname") or os.uname().sysname != "Linux":
        pytest.skip("renameat2 exists only on Linux")
    assert atomic_swap._renameat2() is not None
