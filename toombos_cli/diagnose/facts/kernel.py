"""What the kernel reports about the processes of each service: descriptors, tracers, removed files, memory limits."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import msgspec

from toombos_cli import processes
from toombos_cli.diagnose.facts.configuration import SETTINGS
from toombos_cli.diagnose.facts.limits import Limit, MemoryGroup, limits_of, memory_group, number, tasks_of
from toombos_cli.diagnose.facts.source import Fact, Facts, FactUnavailableError
from toombos_cli.diagnose.facts.system import SYSTEM
from toombos_cli.settings.values import Origin

_GONE = " (deleted)"
_NEARLY_ALL = 0.8
"""Above this share of its descriptors, the sockets of a process are counted by state."""
_AGAIN_S = 0.3
_TCP_STATES = {1: "ESTABLISHED", 2: "SYN_SENT", 6: "TIME_WAIT", 8: "CLOSE_WAIT", 10: "LISTEN"}
_MOST_MAPS_BYTES = 4 * 1024 * 1024


class ProcessFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One process. `state` is the letter of /proc/PID/stat; `waits_in` is the kernel function that a `D` waits in.

    `open_kinds` counts its descriptors by kind if nearly all are used. `tracer` is a pid, 0 for none.
    `program`, `directory` and `libraries` are paths that it uses and that were removed or replaced since. `limits` are
    those of address space, file size and processes.
    """

    pid: int
    state: str = ""
    waits_in: str = ""
    tracer: int = 0
    tracer_command: str = ""
    zombies: int = 0
    open_files: int = 0
    soft_limit: int = 0
    hard_limit: int = 0
    open_kinds: dict[str, int] = {}
    program: str = ""
    directory: str = ""
    libraries: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()

    @property
    def is_traced(self) -> bool:
        """Whether a debugger holds it."""
        return self.tracer != 0 and self.state == "t"


class KernelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The processes of one service, and the control group of the first one if that has a limit.

    `changed` are the variables of its `env` table that the running process has with another value, or without one.
    """

    processes: tuple[ProcessFacts, ...] = ()
    memory: MemoryGroup | None = None
    changed: tuple[str, ...] = ()


def _gather(facts: Facts) -> dict[str, KernelFacts]:
    table, tasks = processes.process_table(), cache(tasks_of)
    zombies = Counter(row.parent for row in table.values() if row.zombie)
    found: dict[str, KernelFacts] = {}
    for name, service in facts.get(SYSTEM).services.items():
        pids = service.pids or ((service.by_hand.pid,) if service.by_hand and service.by_hand.pid else ())
        seen = tuple(one for pid in pids if (one := _process(pid, zombies[pid], tasks)) is not None)
        found[name] = KernelFacts(
            processes=seen,
            memory=memory_group(pids[0]) if pids else None,
            changed=tuple(_changed(facts, name, service.pid)) if service.pid else (),
        )
    return found


def _changed(facts: Facts, name: str, pid: int) -> Iterator[str]:
    """Yield the variables of the service's `env` table that a start would set otherwise than they were set."""
    environment = processes.read_environment(pid)
    if processes.tag_in(environment, processes.TAG) is None:
        return  # it is not visible, or the program has overwritten it to show a title
    try:
        values = facts.get(SETTINGS).service_values(name)
    except FactUnavailableError:
        return
    for variable, value in values.items():
        is_literal = value.origin is Origin.SERVICE and "${" not in value.value
        if is_literal and processes.tag_in(environment, variable) != value.value:
            yield variable


def _process(pid: int, zombies: int, tasks: Callable[[int], int]) -> ProcessFacts | None:
    """Return what /proc says about a process, or None if it has ended or there is no /proc."""
    place = Path("/proc", str(pid))
    try:
        state, tracer = _state(place)
    except (OSError, ValueError, KeyError):
        return None
    count, soft, hard = _descriptors(place)
    return ProcessFacts(
        pid=pid,
        state=state,
        waits_in=_waits_in(place) if state == "D" else "",
        tracer=tracer,
        tracer_command=(processes.command_line(tracer) or "") if tracer else "",
        zombies=zombies,
        open_files=count,
        soft_limit=soft,
        hard_limit=hard,
        open_kinds=_kinds(place) if soft and count > _NEARLY_ALL * soft else {},
        program=_removed(place / "exe"),
        directory=_removed(place / "cwd"),
        libraries=tuple(_removed_libraries(place)),
        limits=tuple(limits_of(place, tasks)),
    )


def _state(place: Path) -> tuple[str, int]:
    lines = (line.partition(":") for line in (place / "status").read_text("utf-8", "replace").splitlines())
    status = {name: value.strip() for name, _, value in lines}
    return status["State"][:1], int(status["TracerPid"])


def _waits_in(place: Path) -> str:
    """Return the kernel function in which the process still waits a little later, or "" if it has gone on."""
    time.sleep(_AGAIN_S)
    with suppress(OSError, ValueError, KeyError):
        if _state(place)[0] == "D":
            return (place / "wchan").read_text("ascii", "replace").strip("\0\n ") or "the kernel"
    return ""


def _descriptors(place: Path) -> tuple[int, int, int]:
    """Return the number of open descriptors, and the soft and the hard limit; zeros if they are not to be seen."""
    try:
        count = sum(1 for _ in (place / "fd").iterdir())
        line = next(x for x in (place / "limits").read_text("ascii").splitlines() if x.startswith("Max open files"))
        soft, hard = line.split()[3:5]
        return count, number(soft), number(hard)
    except (OSError, StopIteration, ValueError):
        return 0, 0, 0


def _kinds(place: Path) -> dict[str, int]:
    """Return how many descriptors are TCP sockets by state, other sockets, pipes or files, the most first."""
    states = dict(_tcp_states(place))
    kinds: Counter[str] = Counter()
    for entry in os.scandir(place / "fd"):
        with suppress(OSError):
            target = os.readlink(entry)  # noqa: PTH115  (a text that is not a path: "socket:[N]")
            if target.startswith("socket:["):
                kinds[states.get(target[8:-1], "other socket")] += 1
            else:
                kinds["file" if target.startswith("/") else target.partition(":")[0]] += 1
    return dict(kinds.most_common())


def _tcp_states(place: Path) -> Iterator[tuple[str, str]]:
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (place / "net" / table).read_text("ascii").splitlines()[1:]:
                words = line.split()
                yield words[9], f"socket in {_TCP_STATES.get(int(words[3], 16), 'another state')}"


def _removed(link: Path) -> str:
    """Return the path of a link in /proc if its file was removed or replaced, or ""."""
    with suppress(OSError):
        target = os.readlink(link)  # noqa: PTH115  (a text that is not a path: "NAME (deleted)")
        if target.endswith(_GONE) and not target.startswith("/memfd:"):
            return target.removesuffix(_GONE)
    return ""


def _removed_libraries(place: Path) -> Iterator[str]:
    """Yield the shared libraries whose code the process has mapped and that were removed or replaced."""
    try:
        with (place / "maps").open("rb") as file:
            lines = file.read(_MOST_MAPS_BYTES).splitlines()
    except OSError:
        return
    seen = set()
    for line in lines:
        if line.endswith(b" (deleted)") and b"x" in line.split(None, 2)[1]:
            path = os.fsdecode(line.split(None, 5)[5]).removesuffix(_GONE)
            if ".so" in path and path not in seen:
                seen.add(path)
                yield path


KERNEL: Fact[dict[str, KernelFacts]] = Fact("kernel", dict[str, KernelFacts], _gather)
