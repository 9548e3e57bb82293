"""Systems other than Linux, through psutil: start times replace ticks, and orphans are not reparented to us."""

import os
import time
from collections.abc import Collection
from pathlib import Path

import psutil

from toombos_cli.processes.rows import FarEnd, Listener, ProcessIdentity, ProcessRow, shown_command


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


def process_table() -> dict[int, ProcessRow]:
    """Return all visible processes by pid."""
    rows = (read_row(pid) for pid in psutil.pids())
    return {row.pid: row for row in rows if row is not None}


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of a running process, or None if it is gone or a zombie."""
    row = read_row(pid)
    if row is None or row.zombie:
        return None
    return ProcessIdentity(boot_id=boot_id(), pid_namespace=0, pid=pid, start_ticks=row.start_ticks)


def is_alive(identity: ProcessIdentity) -> bool:
    """Return whether exactly this process is still running."""
    return identify(identity.pid) == identity


def send_signal(identity: ProcessIdentity, number: int) -> bool:
    """Signal the process. Return False if it is gone or another user's. The pid may be reused after the check."""
    if not is_alive(identity):
        return False
    try:
        os.kill(identity.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


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


def real_uid(pid: int) -> int | None:
    """Return the real user id of a process, or None if it is gone."""
    try:
        return int(psutil.Process(pid).uids().real)
    except (psutil.Error, OSError):
        return None


def command_line(pid: int) -> str | None:
    """Return the command as shown_command() writes it, or None if the process is gone."""
    try:
        process = psutil.Process(pid)
        return shown_command(process.cmdline()) or process.name()
    except (psutil.Error, OSError):
        return None


def working_directory(pid: int) -> str | None:
    """Return the process's working directory, or None if it is gone or not visible."""
    try:
        return psutil.Process(pid).cwd()
    except (psutil.Error, OSError):
        return None


def listeners(ports: Collection[int] = (), pids: Collection[int] | None = None) -> tuple[Listener, ...]:
    """Return the listening TCP sockets of all visible processes, or of the given ones."""
    found = []
    for pid in psutil.pids() if pids is None else pids:
        try:
            connections = psutil.Process(pid).net_connections("tcp")
        except (psutil.Error, OSError):
            continue
        for connection in connections:
            if connection.status == psutil.CONN_LISTEN and (not ports or connection.laddr.port in ports):
                host, port = connection.laddr
                found.append(Listener(host=host, port=port, pid=pid, command=command_line(pid)))
    return tuple(found)


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
    for pid in psutil.pids() if pids is None else pids:
        try:
            if any(file.path == wanted for file in psutil.Process(pid).open_files()):
                found.append(pid)
        except (psutil.Error, OSError):
            continue
    return tuple(found)
