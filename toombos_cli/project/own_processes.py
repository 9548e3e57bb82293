"""The processes of this machine that toombos started for a project, and the proof that they are those.

A supervisor marks what it starts in three ways: the environment gets a tag, the process inherits a lock on
`run/services/NAME.lock`, and `run/state.json` records its pid and start time. Each of them alone can be imitated: any
user may give a process any tag, a link in `run/` may lead to a file that others hold open, and a state file may name
any pid.
So a process counts as the project's only if

- it carries the project's tag and has the real user id of the project's user, or of the user as which the manifest
  had that service started, or holds the lock, or
- the state of this boot and pid namespace records its pid and start time, and it carries the recorded tag or holds
  the lock. Of a process that hides both from this user, such as a program with file capabilities, it is enough that
  it is recorded and leads its session, as every service does at its start, or
- it descends from such a process, or is in its session.

The project's user is the one who runs toombos, or who owns `run/`. The real user id counts, because a set-user-id
program keeps the environment of the stranger who runs it. A service that gives up root's rights keeps the lock and its
place in the state, so it stays ours as another user. Only the user who owns a lock's file can prove anything with it
to others than himself; `processes.lock_holders` compares the locked file itself, never its name.
"""

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec.structs import replace

from toombos_cli import processes
from toombos_cli.manifest.tables.service import Service
from toombos_cli.processes import ProcessIdentity, ProcessRow
from toombos_cli.project.state import (
    EnvFileStamp,
    Phase,
    RunDirectory,
    ServiceState,
    SystemState,
    read_state,
    run_id_prefix,
)
from toombos_cli.project.task_runs import at_rest


class Survivor(msgspec.Struct, frozen=True, kw_only=True):
    """The processes of one spawn of one service. `leader` is the service's main process.

    `adoptable` is False for the rest of a spawn whose leader ended, and for all but the newest spawn.
    """

    service: str
    run_id: str
    leader: ProcessIdentity
    adoptable: bool


def own_tags(project: Path, pids: Iterable[int], service: str | None = None) -> dict[int, str]:
    """Return the tags of the processes that carry the tag of the project, or of one service, and are proven by it."""
    users = users_of(project)
    run = RunDirectory(project)
    return {
        pid: tag
        for pid, tag in processes.find_tagged(run_id_prefix(project, service), pids).items()
        if (uid := processes.real_uid(pid)) in users
        or _holds_lock(run, _service_of(tag), pid)
        or _is_user_of(project, _service_of(tag), uid)
    }


def _is_user_of(project: Path, service: str, uid: int | None) -> bool:
    """Report whether a service was last started as this user."""
    state = read_state(project)
    entry = state.services.get(service) if state else None
    if uid is None or entry is None or not entry.service.user:
        return False
    from toombos_cli.base.accounts import UnknownAccountError, find_account

    try:
        return find_account(entry.service.user).uid == uid
    except UnknownAccountError:
        return False


def recorded_processes(project: Path, state: SystemState | None) -> dict[str, ProcessRow]:
    """Return the main process of each service that the state records and that is proven to be it."""
    if state is None or (state.boot_id, state.pid_namespace) != (processes.boot_id(), processes.pid_namespace()):
        return {}
    rows = {name: processes.read_row(entry.pid) for name, entry in state.services.items() if entry.pid}
    return {
        name: row
        for name, row in rows.items()
        if row is not None
        and not row.zombie
        and row.start_ticks == state.services[name].start_ticks
        and _is_marked(project, name, state.services[name].run_id, row)
    }


def recorded_supervisor(project: Path, state: SystemState | None) -> ProcessIdentity | None:
    """Return the supervisor that the state records, if it runs and holds the project's lock."""
    if state is None or not processes.is_alive(state.supervisor):
        return None
    lock = RunDirectory(project).supervisor_lock
    return state.supervisor if processes.lock_holders(lock, (state.supervisor_pid,)) else None


def find_survivors(project: Path, state: SystemState | None) -> tuple[Survivor, ...]:
    """Return every spawn of this project that still has a process, oldest first; search the whole machine."""
    table = {pid: row for pid, row in processes.process_table().items() if not row.zombie}
    by_run: dict[str, dict[int, ProcessRow]] = {}
    for pid, tag in own_tags(project, table).items():
        by_run.setdefault(tag, {})[pid] = table[pid]
    for name, row in recorded_processes(project, state).items():
        by_run.setdefault(state.services[name].run_id if state else "", {})[row.pid] = row
    found = sorted(
        (_survivor(run_id, rows.values()) for run_id, rows in by_run.items()), key=lambda s: s.leader.start_ticks
    )
    newest = {survivor.service: survivor for survivor in found if survivor.adoptable}
    return tuple(s if newest.get(s.service) is s else replace(s, adoptable=False) for s in found)


def leaders(project: Path, state: SystemState | None) -> dict[str, int]:
    """Return the pid of each service's main process; all processes are searched only if no supervisor records them."""
    if state is not None and not state.is_recorded:  # it is the result of such a search
        return {name: entry.pid for name, entry in state.services.items() if entry.pid}
    if state is not None and processes.is_alive(state.supervisor):
        return {name: row.pid for name, row in recorded_processes(project, state).items()}
    return {survivor.service: survivor.leader.pid for survivor in find_survivors(project, state)}


def observed(project: Path, state: SystemState) -> SystemState:
    """Return what is left of the recorded services if no supervisor runs; the rest of the machine is not searched.

    A service whose recorded process still runs is UNSUPERVISED; every other one is stopped, or keeps its failed phase.
    Nobody measures it, so there are no figures.
    """
    running = recorded_processes(project, state)
    run = RunDirectory(project)
    services = {name: _observed(entry, running.get(name), run) for name, entry in state.services.items()}
    return replace(state, services=services)


def unsupervised_state(project: Path, services: Mapping[str, Service]) -> SystemState | None:
    """Return what runs while no supervisor does, recorded or not; None if nothing is recorded and nothing runs.

    `services` describe what runs although no state can be read.
    """
    recorded = read_state(project)
    state = observed(project, recorded) if recorded else _nothing_recorded()
    entries = dict(state.services)
    for survivor in sorted(find_survivors(project, recorded), key=lambda survivor: not survivor.adoptable):
        name, leader = survivor.service, survivor.leader
        service = services.get(name) or _undescribed(project, survivor)
        entry = entries.setdefault(name, ServiceState(service=service, desired=True, phase=Phase.STOPPED))
        if not entry.pid:
            entries[name] = replace(
                entry,
                phase=Phase.UNSUPERVISED,
                run_id=survivor.run_id,
                pid=leader.pid,
                start_ticks=leader.start_ticks,
                ready_after_s=None,
                detail="" if survivor.adoptable else "its main process has ended, and what it started still runs",
            )
    return replace(state, services=entries) if recorded or entries else None


def last_state(project: Path, services: Mapping[str, Service]) -> SystemState | None:
    """Return the written state, or, if none can be read, what runs; None if that is nothing.

    `services` describe what runs. None for services at another place.
    """
    if services and not any(service.is_here for service in services.values()):
        return None
    return read_state(project) or unsupervised_state(project, services)


def _service_of(tag: str) -> str:
    """Return the service's name in a tag; it may contain colons."""
    return tag.rpartition(":")[0].partition(":")[2]


def users_of(project: Path) -> frozenset[int]:
    """Return the users whose processes may be the project's: this one, and the owner of its `run/`, as under sudo."""
    run = RunDirectory(project).path
    try:
        owner = (run if run.exists() else project).lstat().st_uid
    except OSError:
        return frozenset({os.geteuid()})
    return frozenset({os.geteuid(), owner})


def _is_marked(project: Path, name: str, run_id: str, row: ProcessRow) -> bool:
    """Return whether a recorded process has the recorded tag or the lock, or hides both from this user."""
    if processes.find_tagged("", (row.pid,)).get(row.pid) == run_id:
        return True
    if _holds_lock(RunDirectory(project), name, row.pid):
        return True
    return row.session == row.pid and not processes.is_readable(row.pid)


def _holds_lock(run: RunDirectory, name: str, pid: int) -> bool:
    places = (run.service_lock(name), run.earlier_service_lock(name))
    return any(processes.lock_holders(place, (pid,)) for place in places)


def _survivor(run_id: str, rows: Collection[ProcessRow]) -> Survivor:
    """Return the survivor of one spawn. Its leader is the oldest process, the one that started the session."""
    first = min(rows, key=lambda row: (row.start_ticks, row.pid))
    leader = ProcessIdentity(
        boot_id=processes.boot_id(),
        pid_namespace=processes.pid_namespace(),
        pid=first.pid,
        start_ticks=first.start_ticks,
    )
    # Every spawn starts a session. Without its leader, what remains is a leftover.
    return Survivor(service=_service_of(run_id), run_id=run_id, leader=leader, adoptable=first.session == first.pid)


def _observed(entry: ServiceState, row: ProcessRow | None, run: RunDirectory) -> ServiceState:
    if row is not None:
        return replace(entry, phase=Phase.UNSUPERVISED, cpu_percent=None, rss_bytes=None)
    return at_rest(entry, run)


def _nothing_recorded() -> SystemState:
    """Return a state without a supervisor, a mode or a service."""
    return SystemState(
        boot_id=processes.boot_id(),
        pid_namespace=processes.pid_namespace(),
        supervisor_pid=0,
        supervisor_start_ticks=0,
        dry_run=False,
        mode=None,
        started_at=0.0,
        env_file=EnvFileStamp(path="", mtime_ns=0, sha256=""),
        services={},
    )


def _undescribed(project: Path, survivor: Survivor) -> Service:
    """Return a description of a service that neither the state nor the manifest describes."""
    command = processes.command_line(survivor.leader.pid) or survivor.service
    log = str(project / "logs" / f"{survivor.service}.log")
    return Service(name=survivor.service, command=(command,), cwd=str(project), scheme="none", log=log)
