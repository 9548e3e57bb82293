"""Which services run, and why the others do not."""

import re
import signal
from collections.abc import Iterator

from toombos_cli.base.findings import Check, Evidence, Finding, fail, ok, skip, warn
from toombos_cli.base.fixes import Fix, advice, toombos
from toombos_cli.diagnose.checks.context import (
    at,
    held_back,
    refused_its_settings,
    start,
    waited_for_the_database,
    wanted,
)
from toombos_cli.diagnose.checks.kernel import is_traced
from toombos_cli.diagnose.checks.log_evidence import ENDED_FROM_OUTSIDE, ended, in_its_log, of_life
from toombos_cli.diagnose.checks.ports import is_foreign
from toombos_cli.diagnose.dependencies import with_dependencies
from toombos_cli.diagnose.facts.logs import LOGS
from toombos_cli.diagnose.facts.source import Facts, FactUnavailableError
from toombos_cli.diagnose.facts.system import SYSTEM, ServiceFacts, SystemFacts
from toombos_cli.project.commands import logs, wake
from toombos_cli.project.state import EventReason, FailureKind, Phase

_GROUP = "process"
_OF_A_CRASH = ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT")
_SHOWN = 3


def stopped_system(facts: Facts) -> Iterator[Finding]:
    """Report in one finding, not one per service, that nothing runs."""
    system = facts.get(SYSTEM)
    required = [system.services[name] for name in wanted(facts, system)]
    if not required:
        yield skip("the manifest has no services that must run")
    elif is_all_stopped(facts):
        place = facts.manifest.project / "run" / "state.json" if system.ever_started else facts.manifest.project
        yield fail(
            f"nothing is running: {', '.join(found.name for found in required)}",
            Evidence(source=str(place), text="no process" if system.ever_started else _past(system, False)),
            cause=f"the services were {_past(system, system.ever_started)}",
            fix=start(facts),
        )


def interrupted(facts: Facts) -> Iterator[Finding]:
    """What a killed backup or restore has left: services that it had stopped, and the hook `after`."""
    found, project = facts.get(SYSTEM).interruption, facts.manifest.project
    evidence = Evidence(source=str(project / "run" / "interruption.json"), text=f"written by a {found.by}")
    for name in found.stopped:
        yield fail(
            f"{name} is stopped because of a {found.by} that was killed",
            evidence,
            service=name,
            cause=f"the {found.by} had stopped it and would have started it again",
            fix=start(facts, name),
        )
    if found.after:
        yield warn(
            "a backup was killed before [backup] after ran",
            evidence,
            cause="what [backup] before did has not been undone",
            fix=toombos(project, "backup"),
        )


def _past(system: SystemFacts, was_started: bool) -> str:
    """Return why a service does not run."""
    if system.unreadable:
        return "stopped or never started (this user may not read which)"
    return "stopped" if was_started else "never started here"


def is_all_stopped(facts: Facts) -> bool:
    """Return whether no service runs, none failed, and no port is in use except by other programs."""
    system = facts.get(SYSTEM)
    required = [system.services[name] for name in wanted(facts, system)]
    broken = (Phase.FAILED, Phase.CRASH_LOOP, Phase.STARTING)
    return all(
        not found.runs and found.phase not in broken and (found.holder is None or is_foreign(facts, found))
        for found in required
    ) and any(found.holder is None for found in required)


def suspended(facts: Facts) -> Iterator[Finding]:
    """A process that a signal stopped: it exists, has its port, and does not respond."""
    for name, found in facts.get(SYSTEM).services.items():
        by_hand = found.by_hand.pid if found.by_hand and found.by_hand.suspended else None
        holder = found.holder
        held = holder.pid if holder and holder.suspended and not is_foreign(facts, found) else None
        pids = found.pids if found.suspended else tuple(pid for pid in dict.fromkeys((by_hand, held)) if pid)
        if pids and not is_traced(facts, name):
            yield fail(
                f"{name} is suspended by a signal (SIGSTOP, Ctrl-Z or a debugger): it exists but cannot respond",
                *(Evidence(source=f"pid {pid}", text="state T (stopped)") for pid in pids),
                service=name,
                cause="a suspended process keeps its port: connections are accepted, but get no response",
                fix=wake(*pids),
            )


def crash_loop(facts: Facts) -> Iterator[Finding]:
    """A service that exited so often in a row that the supervisor gave up."""
    for name, found in facts.get(SYSTEM).services.items():
        if found.phase == Phase.CRASH_LOOP and not found.runs:
            times = max(found.restart_count, len(found.restarts)) + 1
            yield fail(
                f"{name} exited {times} times in a row, and the supervisor gave up: {found.detail}",
                *_last_words(facts, found),
                service=name,
                cause="it exits soon after each start, so another start alone does not help",
                fix=advice(
                    f"{_crashed(found) or f'find out why: {logs(facts.manifest, name)}'}; "
                    f"then: {toombos(facts.manifest.project, 'restart', name)}"
                ),
                explained_by=in_its_log(facts, name),
            )


def task_failed(facts: Facts) -> Iterator[Finding]:
    """A task that failed, or that has not run although the system does."""
    system = facts.get(SYSTEM)
    alone, waiting = not is_all_stopped(facts), held_back(facts, system)
    for name, service in facts.manifest.services.items():
        found = system.services[name]
        if not service.is_task or name in waiting:
            continue
        if found.phase == Phase.DONE:
            yield ok(f"{name} is done" + (f": {found.detail}" if found.detail else ""), service=name)
        elif found.runs or found.phase == Phase.STARTING:
            yield warn(
                f"{name} is running: what depends on it waits",
                *_last_words(facts, found),
                service=name,
                cause="a task is completed when its process has ended with exit code 0",
                fix=advice(f"wait for it, or see what it does: {logs(facts.manifest, name)}"),
            )
        elif found.phase == Phase.FAILED:
            finding = fail(
                f"{name} failed: {found.detail}" + _taken_down(_dependents(facts, name, waiting)),
                *_last_words(facts, found),
                service=name,
                cause="a task has to end with exit code 0 before what depends on it is started",
                fix=advice(f"correct what its last lines say, then: {start(facts)}"),
            )
            yield refused_its_settings(facts, found, finding)
        elif alone and not service.optional:
            yield fail(
                f"{name} has not run",
                service=name,
                cause=f"the task was {_past(system, found.managed)}",
                fix=start(facts, name),
            )


def _dependents(facts: Facts, name: str, waiting: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of the waiting services that depend on this one."""
    return tuple(other for other in waiting if name in with_dependencies(other, facts.manifest.services))


def missing(facts: Facts) -> Iterator[Finding]:
    """A service that should run and has no process."""
    system = facts.get(SYSTEM)
    alone, waiting = not is_all_stopped(facts), held_back(facts, system)
    for name in wanted(facts, system):
        found = system.services[name]
        if found.runs or found.phase == Phase.CRASH_LOOP:
            continue
        if found.holder is not None and not is_foreign(facts, found):
            yield ok(f"{name} was not started by toombos: {found.holder} has its port", service=name)
        elif found.phase == Phase.STARTING:
            yield _being_started(facts, found)
        elif alone:
            begin = start(facts, *(() if waiting else (name,)))  # also those that its failed start held back
            finding = fail(
                f"{name} is not running" + _taken_down(waiting),
                *_last_words(facts, found),
                service=name,
                cause=_why(facts, found),
                fix=_way_back(facts, found, begin),
                explained_by=in_its_log(facts, name) if ended(found) else "",
            )
            yield refused_its_settings(facts, found, waited_for_the_database(facts, found, finding))


_ON_PURPOSE = frozenset({EventReason.COMMAND, EventReason.DEPENDENCY, EventReason.WATCHED_FILE})


def _being_started(facts: Facts, found: ServiceFacts) -> Finding:
    """Return the finding of a service that is being started, which is wrong if it is because it has ended."""
    name, show = found.name, logs(facts.manifest, found.name)
    if found.last_end is None or found.last_end.reason in _ON_PURPOSE:
        return warn(
            f"{name} is being started: {found.detail}",
            *_last_words(facts, found),
            service=name,
            cause="its process has not responded yet",
            fix=advice(f"wait for it, or see what it does: {show}"),
        )
    return fail(
        f"{name} has ended and is being started again: {found.detail}",
        *_last_words(facts, found),
        service=name,
        cause=found.last_end.text,
        fix=advice(f"find out why: {show}"),
        explained_by=in_its_log(facts, name),
    )


def _way_back(facts: Facts, found: ServiceFacts, begin: Fix) -> Fix:
    """Return the fix for a service that does not run: its start alone, unless it failed and would fail again."""
    table = f"[services.{found.name}] of toombos.toml"
    show = logs(facts.manifest, found.name)
    opposite = "such as `daemon off;` of nginx or `--daemonize no` of Redis"
    ways = {
        FailureKind.COMMAND: found.program_mend or f"correct command in {table}, or what it names",
        FailureKind.DIRECTORY: f"correct cwd in {table}, or what it names",
        FailureKind.USER: f"correct user in {table}, or what it names",
        FailureKind.BACKGROUND: f"let it stay in the foreground: in command of {table}, remove the option that makes "
        f"it a daemon, or add its opposite, {opposite}",
        FailureKind.LIMIT: f"raise its limit in {table}, or let it use less",
        FailureKind.LOG: f"let its log be written, or name another file as log in {table}",
        FailureKind.ADDRESS: f"set in {table} where it listens, as its cause says, or let it listen there",
        FailureKind.TIMEOUT: f"find out why: {show}; or set a longer startup_timeout_s in {table}",
    }
    way = (ways.get(found.failure_kind) if found.failure_kind else None) or _crashed(found) or None
    if way is None and _failed(found):
        way = f"find out why: {show}"
    code = found.last_end.exit_code if found.last_end else None
    hint = facts.manifest.services[found.name].task_hint(code)
    if way is None and code == 0 and found.phase == Phase.FAILED and not hint:  # before it was ready
        way = f"correct command in {table}: it has to serve in the foreground until it is stopped"
    if way is None and hint:
        way = f"{hint} of toombos.toml; otherwise find out why it ended: {show}"
    return advice(f"{way}; then: {begin}") if way else begin


def _crashed(found: ServiceFacts) -> str:
    """Return where to look if the program ended by a signal of a crash, or ""."""
    if found.last_end is None or found.last_end.signal not in _OF_A_CRASH:
        return ""
    return (
        f"a library or extension of {found.name} crashed: see the core dump (coredumpctl gdb), or for Python the lines "
        f"that PYTHONFAULTHANDLER=1 in env of [services.{found.name}] makes it print"
    )


def _failed(found: ServiceFacts) -> bool:
    """Return whether its process ended with an error, so that it would end again."""
    end = found.last_end
    return end is not None and bool(end.exit_code or (end.signal and end.signal not in ENDED_FROM_OUTSIDE))


def _why(facts: Facts, found: ServiceFacts) -> str:
    """Return how the service ended, with its last line if it failed."""
    how = found.detail or f"it was {_past(facts.get(SYSTEM), found.managed)}"
    try:
        log = facts.get(LOGS)[found.name]
    except FactUnavailableError:
        return how
    last = [entry for entry in log.last if entry.path == log.path and entry.offset >= found.log_offset]
    return f"{how}; its last line was: {last[-1].text}" if last and _failed(found) else how


def _taken_down(names: tuple[str, ...]) -> str:
    return f", so {', '.join(names)} {'was' if len(names) == 1 else 'were'} not started either" if names else ""


def _last_words(facts: Facts, found: ServiceFacts) -> Iterator[Evidence]:
    """Yield the recorded end of the service, and the last error in its log, else its last lines if it failed."""
    if found.managed:
        yield Evidence(
            source=str(facts.manifest.project / "run" / "state.json"),
            text=f"{found.phase}: {found.detail or 'no process'}",
        )
    try:
        log = facts.get(LOGS)[found.name]
    except FactUnavailableError:
        return

    is_recent = of_life(found, log, facts.now, since=found.started_at - 1, begin=found.log_offset)
    recent = list(filter(is_recent, log.entries))
    complaints = [e for e in recent if e.error] or [e for e in recent if re.search(r"\bWARN", e.text)]
    if complaints:
        yield at(complaints[-1])
    elif log.problem:
        yield Evidence(source=log.path, text=log.problem)
    elif found.phase == Phase.FAILED and found.last_lines:
        yield from map(at, list(filter(is_recent, log.last))[-_SHOWN:])


CHECKS = (
    Check(
        id="backup.interrupted",
        title="no killed backup or restore has left a service stopped",
        group=_GROUP,
        run=interrupted,
    ),
    Check(
        id="system.stopped",
        title="the system runs",
        group=_GROUP,
        run=stopped_system,
        follows=("not_found", "backup.interrupted"),
    ),
    Check(id="proc.stopped", title=f"no process is suspended ({signal.SIGSTOP.name})", group=_GROUP, run=suspended),
    Check(
        id="proc.crash_loop",
        title="no service crashes repeatedly",
        group=_GROUP,
        run=crash_loop,
        follows=("not_found", "proc.memory", "py.import", "deps.missing", "port.conflict"),
    ),
    Check(
        id="task.failed",
        title="every task is completed",
        group=_GROUP,
        run=task_failed,
        follows=("not_found", "proc.memory", "py.path", "py.import", "deps.missing", "system.stopped"),
    ),
    Check(
        id="proc.missing",
        title="every service has a process",
        group=_GROUP,
        run=missing,
        follows=(
            "not_found",
            "proc.memory",
            "py.path",
            "py.import",
            "deps.missing",
            "port.conflict",
            "system.stopped",
            "task.failed",
            "backup.interrupted",
        ),
    ),
)
