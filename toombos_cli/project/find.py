"""Where the project is."""

import os
from pathlib import Path

from toombos_cli.manifest import FILE_NAME

_MARKERS = (FILE_NAME, ".env", ".env.example", "run/state.json")


def find_project(start: Path) -> Path:
    """The nearest directory from `start` upward that holds a toombos project, else `start` itself; absolute."""
    start = start.resolve()
    return next((directory for directory in (start, *start.parents) if is_project(directory)), start)


def is_project(directory: Path) -> bool:
    """Whether a file of this directory makes it a toombos project."""
    # Not Path.is_file(), which raises where another user's run/ may not be looked into.
    return any(os.path.isfile(directory / marker) for marker in _MARKERS)  # noqa: PTH113
