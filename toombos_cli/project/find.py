"""Finds the project directory."""

import os
from pathlib import Path

from toombos_cli.manifest import FILE_NAME

_MARKERS = (FILE_NAME, ".env", ".env.example", "run/state.json")


def find_project(start: Path) -> Path:
    """Return the nearest directory from `start` upward that is a toombos project, else `start`; absolute."""
    start = start.resolve()
    return next((directory for directory in (start, *start.parents) if is_project(directory)), start)


def is_project(directory: Path) -> bool:
    """Report whether the directory has a file that makes it a toombos project."""
    # Not Path.is_file(), which raises if another user's run/ may not be entered.
    return any(os.path.isfile(directory / marker) for marker in _MARKERS)  # noqa: PTH113
