"""Finds the processes that an earlier supervisor of this project left running, and proves that they are ours."""

from dataclasses import dataclass
from pathlib import Path

from toombos_cli import processes
from toombos_cli.processes import ProcessIdentity, ProcessRow
from toombos_cli.project.state import RunDirectory, SystemState, run_id_prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class Survivor:
    """The processes of one spawn of one service. `leader` is the service's main process.

    `adoptable` is False for the rest of a spawn whose leader ended, and for all but the newest spawn.
    """

    service: str
    run_id: str
    leader: ProcessIdentity
    adoptable: bool


def find_survivors(project: Path, old: SystemState | None) -> tuple[Survivor, ...]:
    """Return every spawn of this project that still has a process.

    A process is ours if it carries the project's tag. A process that has overwritten its environment, as nginx does,
    is ours if it is the one in the state (boot, namespace, pid, start ticks) and holds the service's lock. Nothing
    else is ever adopted or signalled.
    """
    table = {pid: row for pid, row in processes.process_table().items() if not row.zombie}
    by_run: dict[str, list[ProcessRow]] = {}
    for pid, tag in processes.find_tagged(run_id_prefix(project), table).items():
        by_run.setdefault(tag, []).append(table[pid])
    for name, row in _named_by_state(project, old, table).items():
        run_id = old.services[name].run_id if old else ""
        rows = by_run.setdefault(run_id, [])
        if row not in rows:
            rows.append(row)
    newest: dict[str, Survivor] = {}
    found = []
    for run_id, rows in sorted(by_run.items(), key=lambda item: min(row.start_ticks for row in item[1])):
        survivor = _survivor(run_id, rows)
        found.append(survivor)
        if survivor.adoptable:
            newest[survivor.service] = survivor
    return tuple(
        s
        if newest.get(s.service) is s
        else Survivor(service=s.service, run_id=s.run_id, leader=s.leader, adoptable=False)
        for s in found
    )


def _survivor(run_id: str, rows: list[ProcessRow]) -> Survivor:
    """Return the survivor of one spawn. Its leader is the oldest process, the one that started the session."""
    first = min(rows, key=lambda row: (row.start_ticks, row.pid))
    leader = ProcessIdentity(
        boot_id=processes.boot_id(),
        pid_namespace=processes.pid_namespace(),
        pid=first.pid,
        start_ticks=first.start_ticks,
    )
    # Every spawn starts a session. Without its leader, what remains is a leftover.
    return Survivor(service=run_id.split(":")[1], run_id=run_id, leader=leader, adoptable=first.session == first.pid)


def _named_by_state(project: Path, old: SystemState | None, table: dict[int, ProcessRow]) -> dict[str, ProcessRow]:
    """Return the processes in the state that identity and lock prove to be ours, by service."""
    if old is None or (old.boot_id, old.pid_namespace) != (processes.boot_id(), processes.pid_namespace()):
        return {}
    run = RunDirectory(project)
    proved = {}
    for name, state in old.services.items():
        row = table.get(state.pid)
        if (
            row is not None
            and row.start_ticks == state.start_ticks
            and row.pid in processes.holders_of(run.service_lock(name))
        ):
            proved[name] = row
    return proved
