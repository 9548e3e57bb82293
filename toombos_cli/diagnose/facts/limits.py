"""The limits of a process and of its control group, and how much of each is used."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """One limit that the kernel sets and how much of it is used; `kind` is its name in `prlimit --KIND`.

    `where` is the control group that has the limit, or the largest file that is open for writing, or "".
    """

    kind: str
    used: int
    limit: int
    hard: int = 0
    where: str = ""


class MemoryGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The control group that limits the memory of a process; `kills` counts what the kernel ended in it."""

    path: str
    limit_bytes: int
    used_bytes: int
    kills: int


def limits_of(place: Path, tasks_of: Callable[[int], int]) -> Iterator[Limit]:
    """Yield the limits of a process and of its control group that are set, with what is used of them.

    `place` is its directory in /proc, and `tasks_of` counts the threads of a user.
    """
    try:
        lines = (place / "limits").read_text("ascii").splitlines()
        pages = int((place / "statm").read_text("ascii").split()[0])
        owner = place.stat().st_uid
    except (OSError, ValueError):
        return
    set_to = {line[:26].strip(): [number(word) for word in line[26:].split()[:2]] for line in lines}
    soft, hard = set_to.get("Max address space", (0, 0))
    if soft:
        yield Limit(kind="as", used=pages * os.sysconf("SC_PAGE_SIZE"), limit=soft, hard=hard)
    soft, hard = set_to.get("Max file size", (0, 0))
    if soft and (largest := max(_written_files(place), default=None)):
        yield Limit(kind="fsize", used=largest[0], limit=soft, hard=hard, where=largest[1])
    soft, hard = set_to.get("Max processes", (0, 0))
    if soft and owner:  # the kernel does not count those of root
        yield Limit(kind="nproc", used=tasks_of(owner), limit=soft, hard=hard)
    yield from _tasks_of_group(place)


def _written_files(place: Path) -> Iterator[tuple[int, str]]:
    """Yield the size and the path of each regular file that the process has open for writing."""
    for entry in _entries(place / "fd"):
        with suppress(OSError, StopIteration, ValueError):
            found = os.stat(entry)  # noqa: PTH116  (a DirEntry, not a path)
            flags = (place / "fdinfo" / entry.name).read_text("ascii").split("flags:")[1].split()[0]
            if stat.S_ISREG(found.st_mode) and int(flags, 8) & os.O_ACCMODE:
                yield found.st_size, os.readlink(entry)  # noqa: PTH115


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    with suppress(OSError):
        return list(os.scandir(directory))
    return []


def tasks_of(user: int) -> int:
    """Return the number of threads of a user."""
    found = 0
    for entry in _entries(Path("/proc")):
        with suppress(OSError, IndexError, ValueError):
            if entry.name.isdecimal() and entry.stat().st_uid == user:
                stat_line = Path(entry.path, "stat").read_text("utf-8", "replace")
                found += int(stat_line.rpartition(")")[2].split()[17])
    return found


def _tasks_of_group(place: Path) -> Iterator[Limit]:
    """Yield the nearest limit of tasks of the control groups above a process, of version 2 or 1."""
    for root, inner in _groups(place, "pids"):
        for group in (root / inner.lstrip("/"), *(root / inner.lstrip("/")).parents):
            with suppress(OSError):
                limit = (group / "pids.max").read_text("ascii").strip()
                if limit.isdecimal():
                    used = int((group / "pids.current").read_text("ascii"))
                    yield Limit(kind="pids", used=used, limit=int(limit), where=str(group))
                    return
            if group == root:
                break


def _groups(place: Path, controller: str) -> Iterator[tuple[Path, str]]:
    """Yield the root of the hierarchy and the path of the control group of a process, of version 1 and of version 2."""
    with suppress(OSError, ValueError):
        for line in (place / "cgroup").read_text("utf-8", "replace").splitlines():
            _, controllers, inner = line.split(":", 2)
            if controller in controllers.split(","):
                yield Path("/sys/fs/cgroup", controller), inner
            elif not controllers:
                yield Path("/sys/fs/cgroup"), inner


def number(limit: str) -> int:
    """Return a limit, 0 for none (`unlimited`)."""
    return int(limit) if limit.isdecimal() else 0


def memory_group(pid: int) -> MemoryGroup | None:
    """Return the nearest control group above a process that limits its memory, of version 2 or 1."""
    one = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.oom_control")
    two = ("memory.max", "memory.current", "memory.events")
    for root, inner in _groups(Path("/proc", str(pid)), "memory"):
        if found := _limited(root, inner, one if root.name == "memory" else two):
            return found
    return None


def _limited(root: Path, inner: str, names: tuple[str, str, str]) -> MemoryGroup | None:
    limit_name, used_name, events_name = names
    group = root / inner.lstrip("/")
    for place in (group, *group.parents):
        with suppress(OSError, ValueError):
            limit = (place / limit_name).read_text("ascii").strip()
            if limit.isdecimal() and int(limit) < 1 << 60:
                stat = _numbers(place / "memory.stat")
                cache = stat.get("total_inactive_file", stat.get("inactive_file", 0))
                return MemoryGroup(
                    path=str(place),
                    limit_bytes=int(limit),
                    used_bytes=max(0, int((place / used_name).read_text("ascii")) - cache),
                    kills=_numbers(place / events_name).get("oom_kill", 0),
                )
        if place == root:
            break
    return None


def _numbers(path: Path) -> dict[str, int]:
    with suppress(OSError, ValueError):
        return {words[0]: int(words[1]) for line in path.read_text("ascii").splitlines() if (words := line.split())}
    return {}
