"""The owner of a service's port, and whether it is the process that toombos started."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toombos_cli import processes
from toombos_cli.base.addresses import host_port
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.state import Neighbour, SystemState, neighbour, run_id_prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class PortOwner:
    """The listener on one service's address, or the process of a service without a port.

    `pid` and `command` are None when another user's process holds the address; `listens_on` is None without a port.
    """

    pid: int | None
    command: str | None
    listens_on: str | None
    ours: bool | None
    """Whether toombos started it as this service; None if this user may not see that."""
    neighbour: Neighbour | None = None
    """The service of another project that it is, if any."""

    def __str__(self) -> str:
        if not self.pid:
            return "a process of another user"
        return f"pid {self.pid} ({self.command})" + (f", {self.neighbour}" if self.neighbour else "")


def find_owners(project: Path, services: Mapping[str, Service], state: SystemState | None) -> dict[str, PortOwner]:
    """Return the owner of each service's listening socket, or its process if it has no port; omit the others.

    Cheap for services that toombos runs: all processes of the machine are searched only for a foreign listener.
    """
    roots = _roots(state) if state else {}
    found = _listeners(services, roots)
    owners = {}
    for name, service in services.items():
        if not service.port:
            if name in roots:
                command = processes.command_line(roots[name])
                owners[name] = PortOwner(pid=roots[name], command=command, listens_on=None, ours=True)
            continue
        listener = next(
            (x for x in found if x.port == service.port and processes.conflicts(service.host, x.host)), None
        )
        if listener is None:
            continue
        ours = _is_ours(listener.pid, project, name, roots.get(name), state)
        owners[name] = PortOwner(
            pid=listener.pid,
            command=listener.command,
            listens_on=host_port(listener.host, service.port),
            ours=ours,
            neighbour=neighbour(listener.pid) if listener.pid and ours is False else None,
        )
    return owners


def is_suspended(pid: int | None) -> bool:
    """Report whether the process is stopped by a signal, so that it cannot respond."""
    row = processes.process_table().get(pid) if pid else None
    return row is not None and row.stopped


def _roots(state: SystemState) -> dict[str, int]:
    """Return the main process of each service that toombos started and that still runs."""
    entries = state.services.items()
    return {name: e.pid for name, e in entries if e.pid and processes.is_alive(state.identity_of(e))}


def _listeners(services: Mapping[str, Service], roots: Mapping[str, int]) -> tuple[processes.Listener, ...]:
    """Search the processes that toombos started, then, if a listener is not among them, all of the machine's."""
    ports = tuple({service.port for service in services.values()})
    found = processes.listeners(ports, roots.values())
    return processes.listeners(ports) if any(listener.pid is None for listener in found) else found


def _is_ours(pid: int | None, project: Path, name: str, root: int | None, state: SystemState | None) -> bool | None:
    """Report whether the listener is the service's main process, a worker of it, or left by an earlier run."""
    if pid is None:
        # Another user's, or in another container: it may be ours while the process that toombos started still lives,
        # or may live where it cannot be seen.
        return None if root is not None or (state is not None and state.is_elsewhere) else False
    if pid == root or processes.find_tagged(run_id_prefix(project, name), (pid,)):
        return True
    return root is not None and pid in processes.descendants([root], processes.process_table())
