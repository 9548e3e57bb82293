"""What the screen looks like, line by line, and the picture of it in the README.

After a change that is meant: python -m tests.commands.test_ui_pictures, and look at the difference.
"""

from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.support.still_screen import PICTURE, StillRoom, letters_of, picture, show

EXPECTED = Path(__file__).with_name("screens")
SIZES = ((80, 24), (120, 40))
VIEWS = {
    "logs": (),
    "details": ("i",),
    "search": ("slash", *"order", "enter"),
    "keys": ("question_mark",),
    "stop": ("x",),
}
CASES = [(view, size) for view in VIEWS for size in SIZES]


def painted(view: str, size: tuple[int, int], *, light: bool = False, expected: str = "") -> tuple[str, float]:
    """Return what is on the screen in a view, once it is as expected or some time has passed, and how light it is."""
    found: list[tuple[str, float]] = []

    async def steps(room: StillRoom, pilot: Pilot[int]) -> None:
        await pilot.press(*VIEWS[view])
        if view == "details":
            room.fill_details()
        for _ in range(1000 if expected else 50):
            await pilot.pause(0.02)
            if room.painted == expected:
                break
        found.append((room.painted, room.screen.background_colors[1].brightness))

    show(steps, size=size, light=light)
    return found[0]


def file_of(view: str, size: tuple[int, int]) -> Path:
    return EXPECTED / f"{view}-{size[0]}x{size[1]}.txt"


@pytest.mark.parametrize(("view", "size", "light"), [*((*case, False) for case in CASES), ("search", SIZES[0], True)])
def test_the_screen_looks_as_before(view: str, size: tuple[int, int], light: bool):
    expected = file_of(view, size).read_text()
    found, ground = painted(view, size, light=light, expected=expected)
    assert found == expected
    assert ground > 0.7 if light else ground < 0.3


def test_the_picture_in_the_readme_is_what_its_script_draws():
    assert letters_of(PICTURE.read_text()) == letters_of(picture())
    assert PICTURE.stat().st_size < 60_000
    assert f"]({PICTURE.relative_to(EXPECTED.parents[2])})" in (EXPECTED.parents[2] / "README.md").read_text()


if __name__ == "__main__":
    EXPECTED.mkdir(exist_ok=True)
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture())
    for case in CASES:
        file_of(*case).write_text(painted(*case)[0])
