"""The processes of this machine: their identity, the sockets they listen on, and signals that cannot hit a stranger.

On Linux they are read from /proc: psutil does not expose start ticks (its create_time() moves with the clock), cannot
send through a pidfd, and takes a third of the time of a `toombos status` to import. Elsewhere psutil is used.
"""

import sys
from collections.abc import Collection, Iterable

from toombos_cli.processes.rows import FarEnd, Listener, ProcessIdentity, ProcessRow, shown_command
from toombos_cli.processes.trees import descendants, tag_in

if sys.platform == "linux":
    from toombos_cli.processes import procfs as _system
else:
    from toombos_cli.processes import portable as _system

__all__ = [
    "TAG",
    "FarEnd",
    "Listener",
    "ProcessIdentity",
    "ProcessRow",
    "age_s",
    "become_subreaper",
    "boot_id",
    "command_line",
    "conflicts",
    "cpu_time_s",
    "descendants",
    "far_ends",
    "find_tagged",
    "identify",
    "is_alive",
    "is_readable",
    "listeners",
    "listeners_at",
    "lock_holders",
    "open_pidfd",
    "pid_namespace",
    "process_table",
    "read_row",
    "real_uid",
    "send_signal",
    "shown_command",
    "working_directory",
]

age_s = _system.age_s
become_subreaper = _system.become_subreaper
boot_id = _system.boot_id
command_line = _system.command_line
cpu_time_s = _system.cpu_time_s
far_ends = _system.far_ends
identify = _system.identify
is_alive = _system.is_alive
is_readable = _system.is_readable
listeners = _system.listeners
lock_holders = _system.lock_holders
open_pidfd = _system.open_pidfd
pid_namespace = _system.pid_namespace
process_table = _system.process_table
read_row = _system.read_row
real_uid = _system.real_uid
send_signal = _system.send_signal
working_directory = _system.working_directory

TAG = "TOOMBOS_RUN_ID"
_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104  (compared with, not bound)


def find_tagged(prefix: str, pids: Iterable[int]) -> dict[int, str]:
    """Return the TOOMBOS_RUN_ID of each pid whose initial environment sets it to a value starting with `prefix`."""
    tags = ((pid, tag_in(_system.read_environment(pid), TAG)) for pid in pids)
    return {pid: tag for pid, tag in tags if tag is not None and tag.startswith(prefix)}


def conflicts(host: str, listener_host: str) -> bool:
    """Return whether a socket listening on `listener_host` serves `host`, or prevents a bind to it."""
    same = {host, listener_host} <= {"localhost", "127.0.0.1", "::1"} or host == listener_host
    return same or bool({host, listener_host} & _WILDCARDS)


def listeners_at(host: str, port: int, pids: Collection[int] | None = None) -> tuple[Listener, ...]:
    """Return the sockets that serve this address; with `pids`, search for owners only among these (cheaper)."""
    return tuple(found for found in listeners((port,), pids) if conflicts(host, found.host))
