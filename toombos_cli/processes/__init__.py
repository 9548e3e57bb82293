"""Processes of this machine: who they are, what they listen on, and signals that cannot hit a stranger.

Linux is read from /proc: psutil does not expose start ticks (its create_time() moves with the clock), it cannot
send through a pidfd, and its import costs a third of a `toombos status`. Elsewhere psutil does what it can.
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
    "holders_of",
    "identify",
    "is_alive",
    "listeners",
    "listeners_at",
    "open_pidfd",
    "pid_namespace",
    "process_table",
    "read_row",
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
holders_of = _system.holders_of
identify = _system.identify
is_alive = _system.is_alive
listeners = _system.listeners
open_pidfd = _system.open_pidfd
pid_namespace = _system.pid_namespace
process_table = _system.process_table
read_row = _system.read_row
send_signal = _system.send_signal
working_directory = _system.working_directory

TAG = "TOOMBOS_RUN_ID"
_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104  (compared with, not bound)


def find_tagged(prefix: str, pids: Iterable[int]) -> dict[int, str]:
    """TOOMBOS_RUN_ID of those pids whose start-up environment sets it to a value that begins with `prefix`."""
    tags = ((pid, tag_in(_system.read_environment(pid), TAG)) for pid in pids)
    return {pid: tag for pid, tag in tags if tag is not None and tag.startswith(prefix)}


def conflicts(host: str, listener_host: str) -> bool:
    """Whether a socket that listens on `listener_host` answers for `host`, or keeps it from being bound."""
    same = {host, listener_host} <= {"localhost", "127.0.0.1", "::1"} or host == listener_host
    return same or bool({host, listener_host} & _WILDCARDS)


def listeners_at(host: str, port: int, pids: Collection[int] | None = None) -> tuple[Listener, ...]:
    """The sockets that answer for this address; with `pids`, owners are looked for among these only (cheaper)."""
    return tuple(found for found in listeners((port,), pids) if conflicts(host, found.host))
