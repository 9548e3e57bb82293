"""The processes of this machine: their identity, the sockets they listen on, and signals that cannot hit a stranger.

psutil (portable.py) describes them. Below it, linux.py has what psutil lacks there; its functions come first on Linux.
psutil is imported at the first use of a function that needs it.
"""

import os
import signal
import sys
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from toombos_cli.processes.rows import FarEnd, Listener, ProcessIdentity, ProcessRow, shown_command
from toombos_cli.processes.trees import ProcessTable, descendants, tag_in

if sys.platform == "linux":
    from toombos_cli.processes import linux as _system
else:
    from toombos_cli.processes import portable as _system

if TYPE_CHECKING:
    from toombos_cli.processes.portable import (
        command_line,
        is_readable,
        named,
        real_uid,
        unix_sockets,
        working_directory,
    )

__all__ = [
    "TAG",
    "FarEnd",
    "Listener",
    "ProcessIdentity",
    "ProcessRow",
    "ProcessTable",
    "age_s",
    "all_pids",
    "become_subreaper",
    "boot_id",
    "clients_of",
    "command_line",
    "conflicts",
    "connected_to",
    "cpu_time_s",
    "descendants",
    "far_ends",
    "find_tagged",
    "identify",
    "is_alive",
    "is_readable",
    "lineage",
    "listeners",
    "listeners_at",
    "lock_holders",
    "named",
    "open_file",
    "open_pidfd",
    "pid_namespace",
    "process_table",
    "read_environment",
    "read_row",
    "real_uid",
    "send_signal",
    "shown_command",
    "tag_in",
    "unix_sockets",
    "waits_for_child",
    "working_directory",
]

age_s = _system.age_s
all_pids = _system.all_pids
become_subreaper = _system.become_subreaper
boot_id = _system.boot_id
clients_of = _system.clients_of
connected_to = _system.connected_to
cpu_time_s = _system.cpu_time_s
far_ends = _system.far_ends
listeners = _system.listeners
lock_holders = _system.lock_holders
open_file = _system.open_file
open_pidfd = _system.open_pidfd
pid_namespace = _system.pid_namespace
read_environment = _system.read_environment
read_row = _system.read_row
waits_for_child = _system.waits_for_child


def __getattr__(name: str) -> object:
    """Return one of the functions that need psutil on every system."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from toombos_cli.processes import portable

    return getattr(portable, name)


TAG = "TOOMBOS_RUN_ID"
_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104  (compared with, not bound)


def process_table(pids: Iterable[int] | None = None) -> ProcessTable:
    """Return all processes of this pid namespace by pid, or these of them, zombies included."""
    rows = map(_system.read_row, _system.all_pids() if pids is None else pids)
    return ProcessTable((row.pid, row) for row in rows if row is not None)


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of a running process, or None if it is gone or a zombie."""
    row = _system.read_row(pid)
    if row is None or row.zombie:
        return None
    return ProcessIdentity(
        boot_id=_system.boot_id(), pid_namespace=_system.pid_namespace(), pid=pid, start_ticks=row.start_ticks
    )


def is_alive(identity: ProcessIdentity) -> bool:
    """Return whether exactly this process is still running (a zombie is not)."""
    return identify(identity.pid) == identity


def send_signal(identity: ProcessIdentity, number: int) -> bool:
    """Signal exactly this process. Return False if it is gone or another user's.

    Never hits a reused pid, except that without pidfds the pid may be reused between the check and the signal.
    """
    fd = _system.open_pidfd(identity.pid)
    try:
        if not is_alive(identity):
            return False
        if fd is None:
            os.kill(identity.pid, number)
        else:
            signal.pidfd_send_signal(fd, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        if fd is not None:
            os.close(fd)
    return True


def find_tagged(prefix: str, pids: Iterable[int]) -> dict[int, str]:
    """Return the TOOMBOS_RUN_ID of each pid whose initial environment sets it to a value starting with `prefix`."""
    tags = ((pid, tag_in(_system.read_environment(pid), TAG)) for pid in pids)
    return {pid: tag for pid, tag in tags if tag is not None and tag.startswith(prefix)}


def lineage(pid: int) -> Iterator[ProcessRow]:
    """Yield the row of the process, its parent's, and so on, as far as they are visible."""
    seen: set[int] = set()
    while pid not in seen and (row := read_row(pid)) is not None:
        yield row
        seen.add(pid)
        pid = row.parent


def conflicts(host: str, listener_host: str) -> bool:
    """Return whether a socket listening on `listener_host` serves `host`, or prevents a bind to it.

    A name stands for all of its addresses.
    """
    same = {host, listener_host} <= {"localhost", "127.0.0.1", "::1"} or host == listener_host
    if same or {host, listener_host} & _WILDCARDS:
        return True
    from toombos_cli.base.name_lookup import addresses_of

    return not addresses_of(host).isdisjoint(addresses_of(listener_host))


def listeners_at(host: str, port: int, pids: Collection[int] | None = None) -> tuple[Listener, ...]:
    """Return the sockets that serve this address; with `pids`, search for owners only among these (cheaper)."""
    return tuple(found for found in listeners((port,), pids) if conflicts(host, found.host))
