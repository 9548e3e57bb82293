"""Who listens on a service's address, and whether that is the process that toombos started there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toombos_cli import processes
from toombos_cli.manifest.service import Service
from toombos_cli.run_state import SystemState, run_id_prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The listener on one service's address. `pid` and `command` are None when another user's process holds it."""

    pid: int | None
    command: str | None
    listens_on: str
    ours: bool
    """Whether toombos started it, as this service."""
    suspended: bool
    """Whether it is stopped by a signal, so that it cannot answer."""

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.command})" if self.pid else "a process of another user"


def find_owners(project: Path, services: Mapping[str, Service], state: SystemState | None) -> dict[str, Owner]:
    """The owner of each service's listening socket, by service; a service without a listener is left out.

    Cheap for what toombos runs: all processes of the machine are searched only for a listener that is none of ours.
    """
    table = processes.process_table()
    roots = {
        name: entry.pid
        for name, entry in (state.services if state else {}).items()
        if state and entry.pid in table and processes.is_alive(state.identity_of(entry))
    }
    trees = {name: processes.descendants([pid], table) for name, pid in roots.items()}
    ports = tuple({service.port for service in services.values()})
    found = processes.listeners(ports, set().union(*trees.values()))
    if any(listener.pid is None for listener in found):
        found = processes.listeners(ports)
    owners = {}
    for name, service in services.items():
        listener = next(
            (x for x in found if x.port == service.port and processes.conflicts(service.host, x.host)), None
        )
        if listener is None:
            continue
        pid = listener.pid
        row = table.get(pid) if pid else None
        owners[name] = Owner(
            pid=pid,
            command=listener.command,
            listens_on=f"[{listener.host}]:{listener.port}"
            if ":" in listener.host
            else f"{listener.host}:{listener.port}",
            ours=pid is not None
            and (pid in trees.get(name, ()) or bool(processes.find_tagged(run_id_prefix(project, name), (pid,)))),
            suspended=bool(row and row.stopped),
        )
    return owners
