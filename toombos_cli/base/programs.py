"""Finds programs of the system, which are never those of the directory that happens to be the current one."""

import os
import shutil


def find_program(name: str) -> str | None:
    """Return the absolute path of a program on PATH, or None.

    Entries such as `.` are skipped: they name whatever the current directory holds, which may be somebody else's.
    """
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return shutil.which(name, path=os.pathsep.join(filter(os.path.isabs, entries)) or os.devnull)
