"""Processes through psutil.

On Linux, the functions that linux.py has too come from there; on other systems start times replace ticks, signals go by
pid, and orphans are not reparented to us.
"""

import contextlib
import os
import socket
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import psutil

from toombos_cli.processes.rows import FarEnd, Listener, ProcessRow, shown_command

_WORDS, _CHARS = 256, 4096
"""The part of a command line, its words and the characters of each, from which the shown text is made."""


def boot_id() -> str:
    """Return the boot time, the nearest thing to a boot id."""
    return str(int(psutil.boot_time()))


def pid_namespace() -> int:
    """Return 0: there is only one namespace."""
    return 0


def read_row(pid: int) -> ProcessRow | None:
    """Return the process's row, or None if there is no such process or it is not visible."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            cpu, status = process.cpu_times(), process.status()
            zombie = status == psutil.STATUS_ZOMBIE
            return ProcessRow(
                pid=pid,
                parent=process.ppid(),
                group=os.getpgid(pid),
                session=os.getsid(pid),
                start_ticks=int(process.create_time() * 100),
                cpu_s=cpu.user + cpu.system,
                rss_bytes=0 if zombie else process.memory_info().rss,
                zombie=zombie,
                stopped=status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP),
            )
    except (psutil.Error, OSError):
        return None


def cpu_time_s(row: ProcessRow) -> float:
    """Return the row's CPU time."""
    return row.cpu_s


def age_s(start_ticks: int) -> float:
    """Return the seconds since a process started, by the wall clock: a clock step changes them."""
    return time.time() - start_ticks / 100


def open_file(pid: int, device: int, inode: int) -> tuple[str, str] | None:
    """Return None: psutil names open files, but not which files they are."""
    return None


def all_pids() -> list[int]:
    """Return the pids of all visible processes."""
    return psutil.pids()


def open_pidfd(pid: int) -> int | None:
    """Return None: there are no pidfds here, so adopted processes are polled."""
    return None


def become_subreaper() -> None:
    """Do nothing: orphans go to init here and are found by their tag."""


def read_environment(pid: int) -> bytes:
    """Return the initial environment of a process, NUL-separated; empty if it is not visible."""
    try:
        return b"\0".join(f"{k}={v}".encode() for k, v in psutil.Process(pid).environ().items())
    except (psutil.Error, OSError):
        return b""


def is_readable(pid: int) -> bool:
    """Return whether this user may read the process's environment."""
    try:
        psutil.Process(pid).environ()
    except (psutil.Error, OSError):
        return False
    return True


def waits_for_child(pid: int) -> bool:
    """Return False: what a process sleeps in is not visible."""
    return False


def real_uid(pid: int) -> int | None:
    """Return the real user id of a process, or None if it is gone."""
    try:
        return int(psutil.Process(pid).uids().real)
    except (psutil.Error, OSError):
        return None


def command_line(pid: int) -> str | None:
    """Return the command as shown_command() writes it, or None if the process is gone or not visible."""
    try:
        process = psutil.Process(pid)
        with contextlib.suppress(psutil.ZombieProcess):
            if words := process.cmdline():
                return shown_command(_replaced(word) for word in words[:_WORDS])
        return _replaced(process.name())
    except (psutil.Error, OSError):
        return None


def named(pid: int | None) -> str:
    """Return the process for a message: `pid 123 (python3 crm.py)`; its command is read now. None is another user's."""
    return f"pid {pid} ({command_line(pid) or 'gone'})" if pid else "a process of another user"


def _replaced(text: str) -> str:
    """Return the text of a process with replacement characters for what is not UTF-8, cut to a sane length."""
    return text[:_CHARS].encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def working_directory(pid: int) -> str | None:
    """Return the process's working directory, or None if it is gone or not visible."""
    try:
        return psutil.Process(pid).cwd()
    except (psutil.Error, OSError):
        return None


def listeners(ports: Collection[int] = (), pids: Collection[int] | None = None) -> tuple[Listener, ...]:
    """Return the listening TCP sockets, each with its owner if it is visible and, with `pids`, one of these."""
    try:
        seen = [(one, one.pid) for one in psutil.net_connections("tcp")]
    except psutil.AccessDenied:  # for the whole machine; the processes of this user can be asked one by one
        seen = [(one, pid) for pid in all_pids() for one in _connections(pid)]
    found = []
    for one, owner in seen:
        if one.laddr and one.status == psutil.CONN_LISTEN and (not ports or one.laddr.port in ports):
            pid = owner if pids is None or owner in pids else None
            uid = real_uid(owner) if owner else None
            found.append(Listener(host=one.laddr.ip, port=one.laddr.port, pid=pid, uid=uid))
    return tuple(found)


def unix_sockets(pid: int) -> tuple[str, ...]:
    """Return the absolute paths of the stream sockets that the process has bound to files, as far as visible."""
    bound = {one.laddr for one in _connections(pid, "unix") if one.type is socket.SOCK_STREAM and one.laddr}
    directory = Path(working_directory(pid) or "/")
    return tuple(sorted(str(directory / path) for path in bound if not path.startswith(("@", "\0"))))


def _connections(pid: int, kind: str = "tcp") -> list[Any]:
    try:
        return psutil.Process(pid).net_connections(kind)
    except (psutil.Error, OSError):
        return []


def connected_to(ports: Collection[int], pids: Collection[int]) -> frozenset[int]:
    """Return those of the ports to which these pids have a TCP connection, as far as visible."""
    ends = (one.raddr.port for pid in pids for one in _connections(pid) if one.raddr)
    return frozenset(port for port in ends if port in ports)


def clients_of(port: int) -> dict[int, int]:
    """Return {pid: connections} of the processes here that are connected to a TCP port, as far as visible."""
    try:
        found = psutil.net_connections("tcp")
    except psutil.Error:
        return {}
    return dict(Counter(one.pid for one in found if one.raddr and one.raddr.port == port and one.pid))


def far_ends() -> frozenset[FarEnd] | None:
    """Return None: the sockets of other users are not visible."""
    return None


def lock_holders(path: str | os.PathLike[str], pids: Collection[int] | None = None) -> tuple[int, ...]:
    """Return the pids, among the given ones or all, that have this file open, as far as visible: locks are not.

    A link at `path` is not followed.
    """
    place = Path(path)
    wanted = str(place.parent.resolve() / place.name)
    if place.is_symlink():
        return ()
    found = []
    for pid in all_pids() if pids is None else pids:
        try:
            if any(file.path == wanted for file in psutil.Process(pid).open_files()):
                found.append(pid)
        except (psutil.Error, OSError):
            continue
    return tuple(found)
