"""The owner of a service's port, and whether it is the process that toombos started."""

import os
import socket
import struct
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from toombos_cli import processes
from toombos_cli.base.addresses import host_port
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.own_processes import last_state, leaders, own_tags, users_of
from toombos_cli.project.state import SystemState, project_key, run_id_prefix

_CONNECT_S = 0.5
_LONGEST_ADDRESS = 100


class Neighbour(msgspec.Struct, frozen=True, kw_only=True):
    """A service that toombos runs on this machine for another project, such as another checkout."""

    project: str
    service: str

    def __str__(self) -> str:
        return f"{self.service} of the toombos project {self.project}"


class PortOwner(msgspec.Struct, frozen=True, kw_only=True):
    """The listener on one service's address, or the process of a service without a port.

    `pid` is None when another user's process holds the address; `listens_on` is None without a port.
    """

    pid: int | None
    listens_on: str | None
    ours: bool | None
    """Whether toombos started it as this service; None if this user may not see that."""
    neighbour: Neighbour | None = None
    """The service of another project that it is, if any."""
    poses: bool = False
    """Whether it carries the service's tag without being it, for example as another user."""
    uid: int | None = None
    """The user who opened the socket, or None if that is unknown."""

    def __str__(self) -> str:
        return processes.named(self.pid) + (f", {self.neighbour}" if self.neighbour else "")


def find_owners(project: Path, services: Mapping[str, Service], state: SystemState | None) -> dict[str, PortOwner]:
    """Return the owner of each service's listening socket, or its process if it has no port; omit the others.

    A service at another place has none, even behind a port of this machine.

    `state` is None if nothing is recorded and nothing was found running.

    Cheap for services that toombos runs: all processes of the machine are searched only for a foreign listener.
    """
    services = {name: service for name, service in services.items() if service.is_here}
    roots = leaders(project, state) if state else {}
    found = _listeners(services, roots)
    owners = {}
    for name, service in services.items():
        if service.unix:
            if (peer := _peer(service.unix)) is not None:
                pid, uid = peer
                listener = processes.Listener(host="", port=0, pid=pid, uid=uid)
                owners[name] = _owner_of(service, listener, service.place, project, roots, state)
            continue
        if not service.port:
            if name in roots:
                owners[name] = PortOwner(pid=roots[name], listens_on=None, ours=True)
            continue
        heard = next((x for x in found if x.port == service.port and processes.conflicts(service.host, x.host)), None)
        if heard is not None:
            owners[name] = _owner_of(service, heard, host_port(heard.host, service.port), project, roots, state)
    return owners


def _owner_of(
    service: Service,
    listener: processes.Listener,
    listens_on: str,
    project: Path,
    roots: Mapping[str, int],
    state: SystemState | None,
) -> PortOwner:
    pid = listener.pid
    ours = _is_ours(pid, project, service.name, roots.get(service.name), state)
    return PortOwner(
        pid=pid,
        listens_on=listens_on,
        ours=ours,
        uid=listener.uid,
        neighbour=neighbour(pid) if pid and ours is False else None,
        poses=ours is False and carries_tag(pid, project, service.name),
    )


def socket_owner(path: str) -> int | None:
    """Return the process that listens on a Unix socket, or None: a file that a dead server left is not listened on."""
    peer = _peer(path)
    return peer[0] if peer else None


def _peer(path: str) -> tuple[int, int] | None:
    """Return the process that listens on a Unix socket, and its user; None if there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_CONNECT_S)
        try:
            with _short(path) as place:
                sock.connect(place)
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except (OSError, AttributeError):
            return None
    pid, uid, _ = struct.unpack("3i", credentials)
    return (pid, uid) if pid else None


@contextmanager
def _short(path: str) -> Iterator[str]:
    """Yield a name of the file that fits into the address of a socket."""
    if len(os.fsencode(path)) < _LONGEST_ADDRESS:
        yield path
        return
    directory = os.open(Path(path).parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{Path(path).name}"
    finally:
        os.close(directory)


def listens_elsewhere(service: Service, pids: Collection[int]) -> str:
    """Return where the processes of a service listen instead, and what to write in the manifest, or ""."""
    ways = [_on_a_port(service, pids), _on_a_socket(service, pids)] if pids else []
    return next(filter(None, reversed(ways) if service.unix else ways), "")


def _on_a_port(service: Service, pids: Collection[int]) -> str:
    own = [x for x in processes.listeners((), pids) if x.pid is not None and x.pid in pids]
    nearest = next((x for x in own if x.port == service.port), next(iter(own), None))
    if nearest is None:
        return ""
    keys = [f"port = {nearest.port}"] if nearest.port != service.port else []
    if nearest.host not in (service.host, "0.0.0.0", "::"):  # noqa: S104  (compared with, not bound)
        keys.insert(0, f"host = '{nearest.host}'")
    if not keys:
        return ""
    instead = " instead of unix" if service.unix else ""
    place = host_port(nearest.host, nearest.port)
    return f"pid {nearest.pid} listens on {place}: {' and '.join(keys)}{instead} in [services.{service.name}]"


def _on_a_socket(service: Service, pids: Collection[int]) -> str:
    own = ((pid, path) for pid in sorted(pids) for path in processes.unix_sockets(pid))
    pid, path = next(((pid, path) for pid, path in own if path != service.unix), (0, ""))
    if not pid:
        return ""
    found = f"pid {pid} listens on unix:{path}"
    if service.scheme not in ("http", "https"):
        return found
    instead = " instead of port" if service.port else ""
    return f"{found}: unix = '{path}'{instead} in [services.{service.name}]"


def wrong_owner(service: Service, owner: PortOwner | None, state: SystemState | None) -> str | None:
    """Return the complaint about a stranger in the place of a service, or None.

    A stranger that does not carry the service's tag may have the port of a service that toombos was not asked to run.
    """
    if owner is None or owner.ours is not False:
        return None
    if not owner.poses and (state is None or not state.wants(service.name)):
        return None
    place = service.place if service.unix else f"port {service.port}"
    return f"{place} is in use by {owner}, which is not {service.name}"


class Distrusted(msgspec.Struct, frozen=True, kw_only=True):
    """A listener that must get no variable."""

    complaint: str
    is_stranger: bool
    """Whether it is in the place of a service; if not, it may be the service, run by another user."""


def distrusted(project: Path, services: Mapping[str, Service]) -> dict[str, Distrusted]:
    """Return the services whose listener must get no variable now.

    It is a stranger in the place of the service, or toombos did not start it and it belongs to a user who is neither
    root nor a user of this project.
    """
    state = last_state(project, services)
    found = {}
    for name, owner in find_owners(project, services, state).items():
        service = services[name]
        if complaint := wrong_owner(service, owner, state):
            found[name] = Distrusted(complaint=complaint, is_stranger=True)
        elif owner.ours is False and owner.uid is not None and owner.uid not in {0, *users_of(project)}:
            place = service.place if service.unix else f"port {service.port}"
            complaint = f"{place} is in use by {owner} of the user {owner.uid}, which toombos did not start"
            found[name] = Distrusted(complaint=complaint, is_stranger=False)
    return found


def refused_listeners(project: Path, services: Mapping[str, Service], receiving: Collection[str]) -> dict[str, str]:
    """Return the services that must get no request now, each with the complaint about its listener.

    Strangers get none. What is only distrusted gets none if its service is among those that receive variables.
    """
    found = distrusted(project, services)
    return {name: one.complaint for name, one in found.items() if one.is_stranger or name in receiving}


def is_suspended(pid: int | None) -> bool:
    """Report whether the process is stopped by a signal, so that it cannot respond."""
    row = processes.read_row(pid) if pid else None
    return row is not None and row.stopped


def _listeners(services: Mapping[str, Service], roots: Mapping[str, int]) -> tuple[processes.Listener, ...]:
    """Search the processes that toombos started, then, if a listener is not among them, all of the machine's."""
    ports = tuple({service.port for service in services.values() if not service.unix})
    if not any(ports):
        return ()
    found = processes.listeners(ports, roots.values())
    return processes.listeners(ports) if any(listener.pid is None for listener in found) else found


def _is_ours(pid: int | None, project: Path, name: str, root: int | None, state: SystemState | None) -> bool | None:
    """Report whether the listener is the service's main process, a worker of it, or left by an earlier run."""
    if pid is None:
        # Another user's, or in another container: it may be ours while the process that toombos started still lives,
        # or may live where it cannot be seen.
        return None if root is not None or (state is not None and state.is_elsewhere) else False
    if pid == root or own_tags(project, (pid,), name):
        return True
    return root is not None and any(root in (row.pid, row.session, row.group) for row in processes.lineage(pid))


def carries_tag(pid: int | None, project: Path, name: str) -> bool:
    """Report whether a process carries the tag of a service, which proves nothing by itself."""
    return pid is not None and bool(processes.find_tagged(run_id_prefix(project, name), (pid,)))


def neighbour(pid: int) -> Neighbour | None:
    """Return the project and service of a process, or None if it has none or the project cannot be found.

    Its tag holds only the project's key. The project is the working directory of the process or of one of its
    ancestors (such as its supervisor), or a parent of it.
    """
    tag = processes.find_tagged("", (pid,)).get(pid, "")
    key, _, service = tag.rpartition(":")[0].partition(":")
    for ancestor in processes.lineage(pid) if service else ():
        directory = processes.working_directory(ancestor.pid)
        for place in (Path(directory), *Path(directory).parents) if directory else ():
            if project_key(place) == key:
                return Neighbour(project=str(place), service=service) if own_tags(place, (pid,)) else None
    return None
