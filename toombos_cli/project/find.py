"""Finds the project directory, and refuses one that another user could have written."""

import contextlib
import os
from pathlib import Path

from toombos_cli.base.trust import check_file, check_project
from toombos_cli.manifest import FILE_NAME

_MARKERS = (FILE_NAME, ".env", ".env.example", "run/state.json")


def find_project(start: Path) -> Path:
    """Return the nearest directory from `start` upward that is a toombos project, else `start`; absolute.

    The search goes no further than another user's project, which `refuse_untrusted` then refuses.
    """
    start = start.resolve()
    return next((directory for directory in (start, *start.parents) if is_project(directory)), start)


def refuse_untrusted(project: Path) -> None:
    """Raise UntrustedError if another user could have written the project, or what makes it one."""
    for marker in (FILE_NAME, ".env"):
        with contextlib.suppress(OSError):  # absent, or reported by what reads it
            check_file(project / marker, project)
    check_project(project)


def is_project(directory: Path) -> bool:
    """Report whether the directory has a file that makes it a toombos project."""
    # Not Path.is_file(), which raises if another user's run/ may not be entered.
    return any(os.path.isfile(directory / marker) for marker in _MARKERS)  # noqa: PTH113
