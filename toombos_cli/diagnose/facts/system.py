"""What runs: every service as the supervisor recorded it, its processes, and the owner of its port."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from toombos_cli import processes
from toombos_cli.base import locks
from toombos_cli.base.addresses import host_port
from toombos_cli.base.executables import why_not_run
from toombos_cli.diagnose.facts.source import Fact, Facts
from toombos_cli.manifest.model import DRY_RUN
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.history import EventKind, History, own_restarts, read_history
from toombos_cli.project.interruption import Interruption, find_interruption
from toombos_cli.project.mode import running_mode
from toombos_cli.project.own_processes import own_tags, recorded_processes, recorded_supervisor, unsupervised_state
from toombos_cli.project.port_owner import Neighbour, carries_tag, neighbour
from toombos_cli.project.service_logs import stray_output
from toombos_cli.project.state import (
    End,
    FailureKind,
    Phase,
    RunDirectory,
    SystemState,
    read_state,
    run_id_prefix,
    unreadable_state,
)

Table = processes.ProcessTable
_DAY_S = 86_400.0
_MOST_EVENTS = 200


class ListenerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The process that listens on an address. `pid` and `command` are None if it is another user's process."""

    host: str
    port: int
    pid: int | None
    command: str | None
    suspended: bool = False
    neighbour: Neighbour | None = None
    """The service of another project that it belongs to, if any."""

    def __str__(self) -> str:
        if not self.pid:
            return "a process of another user"
        return f"pid {self.pid} ({self.command})" + (f", {self.neighbour}" if self.neighbour else "")

    @property
    def address(self) -> str:
        """host:port, an IPv6 host in brackets."""
        return host_port(self.host, self.port)


class PastEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the history; `text` is for a person, `at` in seconds since the epoch, and `pid` 0 for no process."""

    at: float
    service: str
    event: EventKind
    text: str
    pid: int = 0


class Restarted(msgspec.Struct, frozen=True, kw_only=True):
    """One restart; `at` is in seconds since the epoch."""

    at: float
    reason: str


class ServiceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One service. `managed`: toombos has started it here before. `pid` is 0 if none of its processes runs.

    `holder` owns the port that the manifest gives the service; `ours` says whether it is the service itself.
    `listens_at` is where its own processes listen. `by_hand` is a process with its command that toombos did not start.
    """

    name: str
    managed: bool = False
    desired: bool = False
    phase: str = Phase.STOPPED.value
    detail: str = ""
    failure_kind: FailureKind | None = None
    program_mend: str = ""
    """What makes its program one that can be run, if that has failed its start and is known: a command or advice."""
    last_end: End | None = None
    pid: int = 0
    pids: tuple[int, ...] = ()
    suspended: bool = False
    started_at: float = 0.0
    log_offset: int = 0
    stray_output: str = ""
    """Where its output goes, if its log was moved away or removed."""
    stray_first: str = ""
    """What to do before a restart mends that."""
    restarts: tuple[Restarted, ...] = ()
    """The restarts that the supervisor made since a command started it, as far as the history has them."""
    restart_count: int = 0
    last_lines: tuple[str, ...] = ()
    rss_bytes: int = 0
    cpu_percent: float | None = None
    holder: ListenerFacts | None = None
    ours: bool = False
    poses: bool = False
    """Whether the holder carries the tag of the service without being it."""
    listens_at: tuple[ListenerFacts, ...] = ()
    by_hand: ListenerFacts | None = None
    wants_dry_run: bool = False
    says_dry_run: bool | None = None

    @property
    def runs(self) -> bool:
        """Whether it has a process, started by toombos or by hand."""
        return bool(self.pid or (self.by_hand and self.by_hand.pid))


class SystemFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The whole system; `ever_started` is False if toombos has written no state.

    `mode` was asked for, `dry_run` is what the services confirm, and `mode_text` says both.

    `unreadable` is the path of a state file that this user may not read, `owner` the user who owns it; "" otherwise.
    `elsewhere`: the services run in another pid namespace, such as another container, so their processes are not seen.
    """

    ever_started: bool
    supervised: bool
    mode: str | None
    dry_run: bool
    started_at: float
    warnings: tuple[str, ...]
    services: dict[str, ServiceFacts]
    unreadable: str = ""
    owner: str = ""
    elsewhere: bool = False
    mode_text: str = ""
    undescribed: tuple[str, ...] = ()
    """The services that toombos has started and that run, although the manifest has them no more."""
    interruption: Interruption = Interruption()
    """What a killed backup or restore has left undone."""
    history: tuple[PastEvent, ...] = ()
    """What happened in the last day, oldest first."""

    @property
    def sees_owners(self) -> bool:
        """Whether a listener without a pid certainly belongs to somebody else, and cannot be the service itself."""
        return not (self.unreadable or self.elsewhere)


def _gather(facts: Facts) -> SystemFacts:
    manifest = facts.manifest
    recorded = state = read_state(manifest.project)
    unreadable = None if recorded else unreadable_state(manifest.project)
    supervised = _is_supervised(manifest.project, recorded)
    elsewhere = recorded is not None and recorded.is_elsewhere
    if not supervised and not elsewhere:
        state = unsupervised_state(manifest.project, manifest.services)
    table = processes.process_table()
    tags = own_tags(manifest.project, [pid for pid, row in table.items() if not row.zombie])
    listeners = processes.listeners()
    history = read_history(manifest.project)
    services = {
        name: _service(manifest.project, service, state, table, tags, listeners, history)
        for name, service in manifest.services.items()
    }
    mode = running_mode(state, knows_dry_run=DRY_RUN in manifest.modes)
    return SystemFacts(
        ever_started=recorded is not None,
        supervised=supervised,
        mode=state.mode if state else None,
        dry_run=mode.dry_run,
        mode_text=mode.text,
        started_at=state.started_at if state else 0.0,
        warnings=(*(state.warnings if state else ()), *history.problems),
        history=_last_day(history, facts.now),
        interruption=find_interruption(manifest.project) or Interruption(),
        services=services,
        unreadable=str(unreadable or ""),
        owner=_owner(unreadable.parent) if unreadable else "",
        elsewhere=elsewhere,
        undescribed=tuple(
            name
            for name, entry in (state.services.items() if state else ())
            if name not in manifest.services and entry.pid in table
        ),
    )


def _last_day(history: History, now: float) -> tuple[PastEvent, ...]:
    recent = [event for event in history.events if event.at > now - _DAY_S][-_MOST_EVENTS:]
    return tuple(PastEvent(at=e.at, service=e.service, event=e.event, text=str(e), pid=e.pid) for e in recent)


def _is_supervised(project: Path, state: SystemState | None) -> bool:
    """Return whether a supervisor runs: the recorded one, or one that has the lock although the state is damaged."""
    return recorded_supervisor(project, state) is not None or locks.is_held(RunDirectory(project).supervisor_lock)


def _owner(path: Path) -> str:
    import pwd

    uid = path.stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"  # the notation of sudo for a user id


def _service(
    project: Path,
    service: Service,
    state: SystemState | None,
    table: Table,
    tags: Mapping[int, str],
    listeners: tuple[processes.Listener, ...],
    history: History,
) -> ServiceFacts:
    entry = state.services.get(service.name) if state else None
    pids = _own_pids(project, service, state, table, tags)
    own = [x for x in listeners if x.pid in pids]
    at_port = [x for x in listeners if x.port == service.port and processes.conflicts(service.host, x.host)]
    first = next((x for x in at_port if x.pid in pids), next(iter(at_port), None))
    leader = entry.pid if entry and entry.pid in pids else min(pids, default=0)
    stray = stray_output(entry) if entry else None
    flaw = None
    if entry and entry.failure_kind is FailureKind.COMMAND:
        environment = os.environ | service.env
        flaw = why_not_run(service.command[0], directory=service.cwd, path=environment.get("PATH"))
    return ServiceFacts(
        name=service.name,
        managed=entry is not None,
        desired=bool(entry and entry.desired),
        phase=entry.phase.value if entry else Phase.STOPPED.value,
        detail=entry.detail if entry else "",
        failure_kind=entry.failure_kind if entry else None,
        program_mend=flaw.hint if flaw else "",
        last_end=entry.last_end if entry else None,
        pid=leader,
        pids=tuple(sorted(pids)),
        suspended=any(table[pid].stopped for pid in pids),
        started_at=entry.started_at if entry else 0.0,
        log_offset=entry.log_offset if entry else 0,
        stray_output=str(stray or ""),
        stray_first=stray.first if stray else "",
        restarts=tuple(Restarted(at=e.at, reason=e.text or e.why) for e in own_restarts(history.of(service.name))),
        restart_count=entry.restarts if entry else 0,
        last_lines=entry.last_lines if entry else (),
        rss_bytes=sum(table[pid].rss_bytes for pid in pids),
        cpu_percent=entry.cpu_percent if entry else None,
        holder=listener_facts(first, table, with_neighbour=first.pid not in pids) if first else None,
        ours=first is not None and first.pid in pids,
        poses=first is not None and first.pid not in pids and carries_tag(first.pid, project, service.name),
        listens_at=tuple(listener_facts(x, table) for x in own),
        wants_dry_run=bool(entry and entry.wants_dry_run),
        says_dry_run=entry.says_dry_run if entry else None,
        by_hand=None if pids or service.is_task else _started_by_hand(service, tags, table, listeners),
    )


def _own_pids(
    project: Path,
    service: Service,
    state: SystemState | None,
    table: Table,
    tags: Mapping[int, str],
) -> set[int]:
    """Return the live processes of the service that toombos started, even those that have detached from it."""
    prefix = run_id_prefix(project, service.name)
    pids = {pid for pid, tag in tags.items() if tag.startswith(prefix)}
    main = recorded_processes(project, state).get(service.name)
    if main is not None:
        pids |= processes.descendants([main.pid], table)
    return {pid for pid in pids if pid in table and not table[pid].zombie}


def listener_facts(listener: processes.Listener, table: Table, *, with_neighbour: bool = False) -> ListenerFacts:
    """Return the socket with its process, and with the service of another project that it belongs to if asked for."""
    row = table.get(listener.pid) if listener.pid else None
    return ListenerFacts(
        host=listener.host,
        port=listener.port,
        pid=listener.pid,
        command=processes.command_line(listener.pid) if listener.pid else None,
        suspended=bool(row and row.stopped),
        neighbour=neighbour(listener.pid) if with_neighbour and listener.pid else None,
    )


def _started_by_hand(
    service: Service, tags: Mapping[int, str], table: Table, listeners: Collection[processes.Listener]
) -> ListenerFacts | None:
    """Return a process with the service's command and directory that toombos did not start, or None."""
    words = processes.shown_command(service.command[1:])
    if not words:
        return None
    for pid in table:
        command = processes.command_line(pid) if pid not in tags else None
        if command and words in command and processes.working_directory(pid) == os.path.realpath(service.cwd):
            place = next((x for x in listeners if x.pid == pid), None)
            return ListenerFacts(
                host=place.host if place else "",
                port=place.port if place else 0,
                pid=pid,
                command=command,
                suspended=table[pid].stopped,
            )
    return None


SYSTEM: Fact[SystemFacts] = Fact("system", SystemFacts, _gather)
