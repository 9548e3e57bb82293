"""Finds processes that write to files below the roots: exchanging the tree would lose what they write."""

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from toombos_cli.backup.archive.safety import is_within
from toombos_cli.backup.living.kinds import REDIS_PROGRAMS


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
    tops = tuple(paths)
    writers: dict[int, FileWriter] = {}
    for writer in files_written(tops):
        if writer.path not in spared:
            writers.setdefault(writer.pid, writer)
    return tuple(writers.values())


def files_written(tops: tuple[bytes, ...]) -> Iterator[FileWriter]:
    """Yield each file below one of the paths that another process has open for writing, as far as visible.

    A Redis counts as the writer of its working directory: it opens its snapshot only to replace it, at the latest when
    it ends.
    """
    import psutil

    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            held = [f.path for f in process.open_files() if _writes(f) and _below(f.path, tops)]
            if process.name().startswith(REDIS_PROGRAMS) and _below(process.cwd(), tops):
                held.append(process.cwd())
            yield from [FileWriter(pid=process.pid, name=process.name(), path=path) for path in held]
        except (psutil.Error, OSError):
            continue


def _below(path: str, tops: tuple[bytes, ...]) -> bool:
    return any(is_within(os.fsencode(path), top) for top in tops)


def _writes(file: object) -> bool:
    """Report whether a file is open for writing; psutil knows the mode only on Linux, elsewhere every file counts."""
    return getattr(file, "mode", "w") != "r"
