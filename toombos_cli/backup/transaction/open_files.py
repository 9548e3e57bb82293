"""Finds processes that write to files below the roots: exchanging the tree would lose what they write."""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from toombos_cli.backup.archive.safety import is_within


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWriter:
    """A process with a file open for writing."""

    pid: int
    name: str
    path: str


def find_holders(paths: Iterable[bytes], spared: Collection[str] = ()) -> tuple[FileWriter, ...]:
    """Return each other process that writes to a file below one of the paths, if this user can see it.

    Files in `spared` do not count.
    """
    import psutil

    tops = tuple(paths)
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            files = process.open_files()
            held = next((f.path for f in files if _writes(f) and f.path not in spared and _below(f.path, tops)), None)
            if held is not None:
                found.append(FileWriter(pid=process.pid, name=process.name(), path=held))
        except (psutil.Error, OSError):
            continue
    return tuple(found)


def _below(path: str, tops: tuple[bytes, ...]) -> bool:
    return any(is_within(os.fsencode(path), top) for top in tops)


def _writes(file: object) -> bool:
    """Report whether a file is open for writing; psutil knows the mode only on Linux, elsewhere every file counts."""
    return getattr(file, "mode", "w") != "r"
