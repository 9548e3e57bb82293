"""The machine: load, memory, disk, the busiest processes, and the share of the system's own processes."""

import os
import platform
import shutil
import sys
import time
from pathlib import Path

import msgspec

from toombos_cli import processes
from toombos_cli.diagnose.facts.source import Fact, Facts
from toombos_cli.diagnose.facts.system import SYSTEM

_SAMPLE_S = 0.3
_TOP = 5


class ProcessUse(msgspec.Struct, frozen=True, kw_only=True):
    """The resource use of one process; `cpu_percent` refers to one core."""

    pid: int
    command: str
    cpu_percent: float
    rss_bytes: int


class MachineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes in bytes, ratios 0 to 1. `pressure` is the share of the last 60 s in which tasks waited (PSI), if known.

    `service_cpu_percent` refers to one core, for a service's whole process tree. `oom_kills` counts since boot.
    """

    system: str
    python: str
    toombos: str
    cores: int
    load: tuple[float, float, float]
    cpu_ratio: float
    memory_total_bytes: int
    memory_available_bytes: int
    swap_total_bytes: int
    swap_free_bytes: int
    disk_total_bytes: int
    disk_free_bytes: int
    inodes_total: int
    inodes_free: int
    pressure: dict[str, float]
    oom_kills: int | None
    busiest: tuple[ProcessUse, ...]
    largest: tuple[ProcessUse, ...]
    service_cpu_percent: dict[str, float]

    @property
    def memory_ratio(self) -> float:
        """The share of the memory that is not available."""
        return 1 - self.memory_available_bytes / self.memory_total_bytes

    @property
    def disk_ratio(self) -> float:
        """The used share of the project's file system, computed like `df` does."""
        return 1 - self.disk_free_bytes / self.disk_total_bytes if self.disk_total_bytes else 0.0


def _gather(facts: Facts) -> MachineFacts:
    import psutil

    from toombos_cli import __version__

    before, began, cpu_before = processes.process_table(), time.monotonic(), psutil.cpu_times()
    time.sleep(_SAMPLE_S)
    after, cpu_after = processes.process_table(), psutil.cpu_times()
    span_s = time.monotonic() - began
    use = {
        pid: (100 * (row.cpu_s - before[pid].cpu_s) / span_s, row.rss_bytes)
        for pid, row in after.items()
        if pid in before and pid != os.getpid()
    }
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    disk = shutil.disk_usage(facts.manifest.project)
    inodes = os.statvfs(facts.manifest.project)
    busy = [sum(t) - t.idle - getattr(t, "iowait", 0.0) for t in (cpu_before, cpu_after)]
    total = sum(cpu_after) - sum(cpu_before)
    services = facts.get(SYSTEM).services
    return MachineFacts(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=sys.version.split()[0],
        toombos=__version__,
        cores=os.cpu_count() or 1,
        load=os.getloadavg(),
        cpu_ratio=max(0.0, (busy[1] - busy[0]) / total) if total > 0 else 0.0,
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
        swap_total_bytes=swap.total,
        swap_free_bytes=swap.free,
        disk_total_bytes=disk.used + disk.free,
        disk_free_bytes=disk.free,
        inodes_total=inodes.f_files,
        inodes_free=inodes.f_favail,
        pressure={name: value for name in ("cpu", "memory", "io") if (value := _pressure(name)) is not None},
        oom_kills=_oom_kills(),
        busiest=_top(use, 0),
        largest=_top(use, 1),
        service_cpu_percent={
            name: round(sum(use[pid][0] for pid in found.pids if pid in use), 1) for name, found in services.items()
        },
    )


def _top(use: dict[int, tuple[float, int]], column: int) -> tuple[ProcessUse, ...]:
    pids = sorted(use, key=lambda pid: use[pid][column], reverse=True)[:_TOP]
    return tuple(
        ProcessUse(
            pid=pid,
            command=processes.command_line(pid) or "(ended)",
            cpu_percent=round(use[pid][0], 1),
            rss_bytes=use[pid][1],
        )
        for pid in pids
    )


def _pressure(name: str) -> float | None:
    """Return `avg60` of `some` in /proc/pressure (PSI) as a ratio, or None if the kernel does not report it."""
    try:
        line = Path("/proc/pressure", name).read_text("ascii").splitlines()[0]
        return float(dict(word.split("=") for word in line.split()[1:])["avg60"]) / 100
    except (OSError, ValueError, KeyError, IndexError):
        return None


def _oom_kills() -> int | None:
    try:
        lines = Path("/proc/vmstat").read_text("ascii").splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)
    except OSError:
        return None


MACHINE: Fact[MachineFacts] = Fact("machine", MachineFacts, _gather)
