"""What the kernel reports about services that run: nothing runs out, nothing holds them, and their files exist."""

import re
from collections.abc import Iterator
from pathlib import Path

from toombos_cli.base.findings import Check, Evidence, Finding, fail, skip, warn
from toombos_cli.base.fixes import Fix, advice, command, shell, toombos
from toombos_cli.base.text import duration, size
from toombos_cli.diagnose.checks.context import start
from toombos_cli.diagnose.facts.kernel import KERNEL, ProcessFacts
from toombos_cli.diagnose.facts.limits import Limit
from toombos_cli.diagnose.facts.logs import LOGS, LogEntry
from toombos_cli.diagnose.facts.memory_kills import MEMORY_KILLS, MemoryKill
from toombos_cli.diagnose.facts.source import Facts, FactUnavailableError
from toombos_cli.diagnose.facts.system import SYSTEM, ServiceFacts
from toombos_cli.project.history import EventKind

_GROUP = "process"
_NEARLY_ALL = 0.85
_ALL = 0.97
_MANY_ZOMBIES = 10
_MEMORY_RATIO = 0.95
_SAME_MOMENT_S = 5.0
_RECENT_S = 900.0


def _each(facts: Facts) -> Iterator[tuple[str, ProcessFacts]]:
    yield from ((name, process) for name, found in facts.get(KERNEL).items() for process in found.processes)


def descriptors(facts: Facts) -> Iterator[Finding]:
    """A service that has used nearly all the files and sockets that it may open."""
    for name, process in _each(facts):
        used = process.open_files / process.soft_limit if process.soft_limit else 0.0
        if used < _NEARLY_ALL:
            continue
        leaks = process.open_kinds.get("socket in CLOSE_WAIT", 0) > process.open_files / 2
        kinds = ", ".join(f"{count} {kind}" for kind, count in list(process.open_kinds.items())[:4])
        yield (fail if used >= _ALL else warn)(
            f"{name} has {process.open_files} of {process.soft_limit} files and sockets open",
            Evidence(source=f"pid {process.pid}", text=kinds or "open files"),
            service=name,
            cause="it does not close connections that the other side has ended (CLOSE_WAIT): a leak"
            if leaks
            else "it can soon open nothing more (Too many open files): a leak, or more work than its limit allows",
            fix=_more_descriptors(facts, name, process),
        )


def _more_descriptors(facts: Facts, name: str, process: ProcessFacts) -> Fix:
    """Return the command that raises the limit of the running process, or a restart if it cannot be raised."""
    hard = process.hard_limit or 1 << 20
    more = min(hard, 4 * process.soft_limit)
    if more <= process.soft_limit:
        return toombos(facts.manifest.project, "restart", name)
    limits = ("prlimit", "--pid", str(process.pid))
    back = command(*limits, f"--nofile={process.soft_limit}:{hard}")
    return command(*limits, f"--nofile={more}:{hard}", undo=str(back))


def traced(facts: Facts) -> Iterator[Finding]:
    """A process that a debugger holds."""
    for name, process in _each(facts):
        if process.is_traced:
            yield fail(
                f"{name} is held by a debugger, pid {process.tracer} ({process.tracer_command}): it cannot respond",
                Evidence(source=f"pid {process.pid}", text=f"state t (tracing stop), TracerPid {process.tracer}"),
                service=name,
                cause="a signal does not resume a process that is traced; its tracer does, or the end of its tracer",
                fix=shell(f"kill {process.tracer}; sleep 1; kill -CONT {process.pid}"),
            )


def is_traced(facts: Facts, name: str) -> bool:
    """Return whether a debugger holds a process of the service."""
    try:
        found = facts.get(KERNEL).get(name)
    except FactUnavailableError:
        return False
    return found is not None and any(process.is_traced for process in found.processes)


def uninterruptible(facts: Facts) -> Iterator[Finding]:
    """A process that waits in the kernel, where no signal reaches it."""
    for name, process in _each(facts):
        if process.waits_in:
            yield warn(
                f"{name} waits in the kernel ({process.waits_in}): no signal reaches it",
                Evidence(source=f"pid {process.pid}", text="state D (uninterruptible)"),
                service=name,
                cause="a disk or a network file system does not respond",
                fix=advice("look at the disks and mounts that it uses: dmesg | tail; cat /proc/mounts"),
            )


def zombies(facts: Facts) -> Iterator[Finding]:
    """A service that does not collect its ended children."""
    for name, process in _each(facts):
        if process.zombies >= _MANY_ZOMBIES:
            yield warn(
                f"{name} has {process.zombies} ended children that it does not collect (zombies)",
                Evidence(source=f"pid {process.pid}", text=f"parent of {process.zombies} processes in state Z"),
                service=name,
                cause="each keeps its pid; when the limit of processes is reached, nothing more can be started",
                fix=toombos(facts.manifest.project, "restart", name),
            )


def removed(facts: Facts) -> Iterator[Finding]:
    """A service whose program, directory or libraries were removed or replaced since its start."""
    for name, process in _each(facts):
        what = [("directory", process.directory), ("program", process.program)]
        what += [("library", library) for library in process.libraries[:1]]
        for kind, path in what:
            if not path:
                continue
            exists = Path(path).exists()
            again = toombos(facts.manifest.project, "restart", name)
            yield (warn if exists or kind != "directory" else fail)(
                f"{name} runs with a {kind} that was {'replaced' if exists else 'removed'}: {path}",
                Evidence(source=f"pid {process.pid}", text=f"{path} (deleted)"),
                service=name,
                cause="it still uses the old one until it is restarted"
                if exists
                else "files that it opens by a relative path are not found, and it could not be started again"
                if kind == "directory"
                else "it could not be started again",
                fix=again if exists else advice(f"put {path} back, then: {again}"),
            )
            break


def environment(facts: Facts) -> Iterator[Finding]:
    """A service that runs with other variables than a start would give it now."""
    manifest = facts.manifest
    for name, found in facts.get(KERNEL).items():
        if found.changed:
            yield warn(
                f"{name} runs with another {', '.join(found.changed)} than toombos.toml gives it now",
                Evidence(source=str(manifest.source.path or "toombos.toml"), text=f"[services.{name}] env"),
                service=name,
                cause="a process keeps the environment it was started with",
                fix=toombos(manifest.project, "restart", name),
            )


def memory_limit(facts: Facts) -> Iterator[Finding]:
    """A service that is near the memory limit of its control group."""
    groups = {name: found.memory for name, found in facts.get(KERNEL).items() if found.memory}
    if not groups:
        yield skip("no running service has a memory limit of its own")
    for name, group in groups.items():
        if group.used_bytes > _MEMORY_RATIO * group.limit_bytes:
            yield warn(
                f"the control group of {name} uses {size(group.used_bytes)} of {size(group.limit_bytes)} memory",
                Evidence(source=group.path, text=f"oom_kill {group.kills}"),
                service=name,
                cause="at the limit, the kernel ends a process in it",
                fix=advice("raise the limit of the container or unit that it runs in, or let it use less"),
            )


_LIMITS = {
    "as": ("of its address space", "it can map no more memory (Cannot allocate memory, MemoryError)"),
    "fsize": ("of the size that a file of it may have", "it cannot write beyond that (File too large, SIGXFSZ)"),
    "nproc": ("of the processes and threads of its user", "it can start no more (Resource temporarily unavailable)"),
    "pids": ("of the tasks of its control group", "it can start no more (Resource temporarily unavailable)"),
}
"""What each kind of limit counts, and what happens at its end."""


def limits(facts: Facts) -> Iterator[Finding]:
    """A service that has used nearly all that the kernel allows it of memory, of a file, or of processes."""
    for name, process in _each(facts):
        for one in process.limits:
            if one.used < _NEARLY_ALL * one.limit:
                continue
            counts, cause = _LIMITS[one.kind]
            is_bytes = one.kind in ("as", "fsize")
            used, limit = (size(one.used), size(one.limit)) if is_bytes else (f"{one.used}", f"{one.limit}")
            yield (fail if one.used >= _ALL * one.limit else warn)(
                f"{name} has used {used} {counts}, and {limit} is the limit",
                Evidence(source=one.where or f"/proc/{process.pid}/limits", text=f"pid {process.pid}: {one.kind}"),
                service=name,
                cause=cause,
                fix=_higher(process, one),
            )


def _higher(process: ProcessFacts, one: Limit) -> Fix:
    """Return the command that doubles a limit of the running process, or how to raise one that it cannot pass."""
    if one.kind == "pids":
        return shell(f"echo {2 * one.limit} > {one.where}/pids.max", undo=f"echo {one.limit} > {one.where}/pids.max")
    limits = ("prlimit", "--pid", str(process.pid))
    hard = max(one.hard, 2 * one.limit) if one.hard else "unlimited"
    back = command(*limits, f"--{one.kind}={one.limit}:{one.hard or 'unlimited'}")
    return command(*limits, f"--{one.kind}={2 * one.limit}:{hard}", undo=str(back))


def killed_for_memory(facts: Facts) -> Iterator[Finding]:
    """A service, or one of its processes, that the kernel ended for want of memory."""
    for kill in facts.get(MEMORY_KILLS):
        name = _whose(facts, kill)
        found = facts.get(SYSTEM).services.get(name)
        if found is None or not _still_matters(facts, found, kill):
            continue
        at_limit = f"because its control group {kill.group} was at its memory limit"
        more = "raise the memory limit of the container or unit that it runs in" if kill.group else "add memory"
        begin = "" if found.runs else f"; then: {start(facts, name)}"
        yield (warn if found.runs else fail)(
            f"the kernel ended {kill.name}, pid {kill.pid}, of {name} {duration(facts.now - kill.at)} ago, "
            f"{at_limit if kill.group else 'because the machine had no memory left'}",
            Evidence(source=kill.source, text=kill.text),
            service=name,
            cause="it used more memory than there was for it",
            fix=advice(f"{more}, or let it use less{begin}"),
        )


def _still_matters(facts: Facts, found: ServiceFacts, kill: MemoryKill) -> bool:
    """Return whether the service has not run since, or runs in the same life or in one that followed by itself."""
    if not found.runs:
        return found.last_end is not None and abs(found.last_end.at - kill.at) < _SAME_MOMENT_S
    came_back = any(restart.at > kill.at - _SAME_MOMENT_S for restart in found.restarts)
    return facts.now - kill.at < _RECENT_S and (kill.at > found.started_at or came_back)


def _whose(facts: Facts, kill: MemoryKill) -> str:
    """Return the service that the ended process belonged to, by its recorded end or by the service's own log, or ""."""
    for event in facts.get(SYSTEM).history:
        if event.pid == kill.pid and event.event is EventKind.EXITED and abs(event.at - kill.at) < _SAME_MOMENT_S:
            return event.service
    said = re.compile(rf"\bpid\W{{0,2}}{kill.pid}\b", re.I)
    for name, log in facts.get(LOGS).items():
        if any(said.search(entry.text) and _is_near(entry, kill) for entry in log.entries):
            return name
    return ""


def _is_near(entry: LogEntry, kill: MemoryKill) -> bool:
    return entry.at is not None and entry.error and abs(entry.at - kill.at) < _SAME_MOMENT_S


CHECKS = (
    Check(id="proc.descriptors", title="files and sockets can be opened", group=_GROUP, run=descriptors),
    Check(id="proc.memory", title="the kernel ended nothing for want of memory", group=_GROUP, run=killed_for_memory),
    Check(id="proc.limits", title="limits leave room", group=_GROUP, run=limits),
    Check(id="proc.traced", title="no debugger holds a service", group=_GROUP, run=traced),
    Check(id="proc.waiting", title="nothing is stuck in the kernel", group=_GROUP, run=uninterruptible),
    Check(id="proc.zombies", title="ended children are collected", group=_GROUP, run=zombies),
    Check(id="proc.removed", title="programs and directories exist", group=_GROUP, run=removed),
    Check(id="res.group", title="memory limits leave room", group="resources", run=memory_limit),
)
ENVIRONMENT = (
    Check(
        id="proc.environment",
        title="services have their variables",
        group=_GROUP,
        run=environment,
        follows=("stale", "port.mismatch"),
    ),
)
"""It follows from a changed port, which is judged after the rest."""
