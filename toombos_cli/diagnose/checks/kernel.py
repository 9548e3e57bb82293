"""What the kernel reports about services that run: nothing runs out, nothing holds them, and their files exist."""

from collections.abc import Iterator
from pathlib import Path

from toombos_cli.base.findings import Check, Evidence, Finding, fail, skip, warn
from toombos_cli.base.fixes import Fix, advice, command, shell, toombos
from toombos_cli.base.text import size
from toombos_cli.diagnose.facts.kernel import KERNEL, ProcessFacts
from toombos_cli.diagnose.facts.source import Facts, FactUnavailableError

_GROUP = "process"
_NEARLY_ALL = 0.85
_ALL = 0.97
_MANY_ZOMBIES = 10
_MEMORY_RATIO = 0.95


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


CHECKS = (
    Check(id="proc.descriptors", title="files and sockets can be opened", group=_GROUP, run=descriptors),
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
