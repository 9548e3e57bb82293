"""Swapping and swapping back, by the kernel's exchange and by two renames, broken off anywhere."""

# The product's paths are raw bytes, which pathlib does not take.
# ruff: noqa: PTH104

import os
from pathlib import Path

import msgspec
import pytest

from toombos_cli.backup.transaction import atomic_swap
from toombos_cli.backup.transaction.atomic_swap import Unit, identity, swap, swap_back
from toombos_cli.base.errors import OperationError


def make_unit(tmp_path: Path, *, live: bool = True, staged: bool = True) -> Unit:
    for name, wanted in (("live", live), ("staged", staged)):
        if wanted:
            (tmp_path / name).mkdir()
            (tmp_path / name / "said").write_text(name)
    paths = {name: os.fsencode(tmp_path / name) for name in ("live", "staged", "aside")}
    return Unit(**paths, live_id=identity(paths["live"]), staged_id=identity(paths["staged"]))


def said(tmp_path: Path) -> str | None:
    path = tmp_path / "live" / "said"
    return path.read_text() if path.exists() else None


KINDS = {
    "both": ({}, "staged", "live"),
    "added": ({"live": False}, "staged", None),
    "removed": ({"staged": False}, None, "live"),
}


@pytest.mark.parametrize("atomic", [True, False], ids=["exchange", "two renames"])
@pytest.mark.parametrize(("shape", "new", "old"), KINDS.values(), ids=KINDS.keys())
def test_a_swap_and_its_way_back(
    tmp_path: Path, shape: dict[str, bool], new: str | None, old: str | None, atomic: bool
) -> None:
    unit = make_unit(tmp_path, **shape)
    swap(unit, atomic=atomic)
    assert said(tmp_path) == new
    swap_back(unit)
    assert said(tmp_path) == old
    swap_back(unit)
    assert said(tmp_path) == old


def test_two_renames_broken_off_between_them_are_taken_back(tmp_path: Path) -> None:
    unit = make_unit(tmp_path)
    os.rename(unit.live, unit.aside)
    swap_back(unit)
    assert said(tmp_path) == "live"


def test_a_way_back_by_renames_broken_off_anywhere_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel cannot exchange, the way back is three renames."""
    monkeypatch.setattr(atomic_swap, "_renameat2", lambda: None)
    for broken_off_after in range(4):
        place = tmp_path / str(broken_off_after)
        place.mkdir()
        unit = make_unit(place)
        os.rename(unit.live, unit.aside)
        os.rename(unit.staged, unit.live)
        os.rename(unit.aside, unit.staged)  # as the exchange leaves it
        steps = [(unit.staged, unit.aside), (unit.live, unit.staged), (unit.aside, unit.live)]
        for source, target in steps[:broken_off_after]:
            os.rename(source, target)
        swap_back(unit)
        assert said(place) == "live"


@pytest.mark.parametrize("atomic", [True, False], ids=["exchange", "two renames"])
def test_a_swap_is_taken_back_after_a_reboot_that_numbered_the_devices_anew(tmp_path: Path, atomic: bool) -> None:
    unit = make_unit(tmp_path)
    swap(unit, atomic=atomic)
    swap_back(after_reboot(unit))
    assert said(tmp_path) == "live"


def test_where_old_and_new_cannot_be_told_apart_nothing_is_moved(tmp_path: Path) -> None:
    unit = make_unit(tmp_path)
    swap(unit)
    strange = msgspec.structs.replace(unit, live_id=(1, 1), staged_id=(1, 2))
    with pytest.raises(OperationError, match="cannot be told apart"):
        swap_back(strange)
    assert said(tmp_path) == "staged"
    assert (tmp_path / "staged" / "said").read_text() == "live"


def test_what_was_put_in_place_before_the_swap_came_to_it_stays(tmp_path: Path) -> None:
    unit = make_unit(tmp_path)
    os.rename(unit.live, tmp_path / "before")
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "said").write_text("edited")
    swap_back(unit)
    assert said(tmp_path) == "edited"


def after_reboot(unit: Unit) -> Unit:
    """What a journal says of a unit when its file system has another device number than before."""
    assert unit.live_id is not None
    assert unit.staged_id is not None
    other = unit.live_id[0] + 7
    return msgspec.structs.replace(unit, live_id=(other, unit.live_id[1]), staged_id=(other, unit.staged_id[1]))


def test_the_exchange_is_one_step_here() -> None:
    if not hasattr(os, "uname") or os.uname().sysname != "Linux":
        pytest.skip("renameat2 is Linux's own")
    assert atomic_swap._renameat2() is not None
