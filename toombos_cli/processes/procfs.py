"""Linux: the process table, identities and listening sockets, read from /proc (proc(5))."""

# Plain strings: a Path object for each of some thousand small files would cost more than reading them.
# ruff: noqa: PTH115, PTH116, PTH123, PTH208

import contextlib
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Collection, Iterator
from functools import cache, lru_cache
from pathlib import Path

from toombos_cli.processes import sock_diag
from toombos_cli.processes.rows import FarEnd, Listener, ProcessIdentity, ProcessRow, shown_command

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TCP_LISTEN = "0A"
_PROCESS_CPU_CLOCK = 2  # what clock_getcpuclockid(3) makes of a pid: ~pid << 3 | CPUCLOCK_SCHED
_PR_SET_CHILD_SUBREAPER = 36


@cache
def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


@cache
def pid_namespace() -> int:
    """The inode of this process's pid namespace: pids of another one mean nothing here."""
    return os.stat("/proc/self/ns/pid").st_ino


def read_row(pid: int) -> ProcessRow | None:
    """The process's row, or None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command in parentheses may itself hold spaces and parentheses: fields are counted from the last one.
    fields = text[text.rindex(b")") + 2 :].split()
    return ProcessRow(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
        cpu_s=(int(fields[11]) + int(fields[12])) * _TICK_S,
        rss_bytes=int(fields[21]) * _PAGE_BYTES,
        zombie=fields[0] in (b"Z", b"X"),
        stopped=fields[0] in (b"T", b"t"),
    )


def cpu_time_s(row: ProcessRow) -> float:
    """The process's CPU time to the nanosecond; that of the row, in ticks of 10 ms, once it is gone."""
    try:
        return time.clock_gettime(~row.pid << 3 | _PROCESS_CPU_CLOCK)
    except OSError:
        return row.cpu_s


def age_s(start_ticks: int) -> float:
    """Seconds since a process of this boot began, to a hundredth; a step of the wall clock does not change them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks * _TICK_S


def process_table() -> dict[int, ProcessRow]:
    """All processes of this pid namespace by pid, zombies included."""
    rows = (read_row(pid) for pid in _pids())
    return {row.pid: row for row in rows if row is not None}


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of a running process; None when it is gone or a zombie."""
    row = read_row(pid)
    if row is None or row.zombie:
        return None
    return ProcessIdentity(boot_id=boot_id(), pid_namespace=pid_namespace(), pid=pid, start_ticks=row.start_ticks)


def is_alive(identity: ProcessIdentity) -> bool:
    """Whether exactly this process still runs (a zombie does not)."""
    return identify(identity.pid) == identity


def send_signal(identity: ProcessIdentity, number: int) -> bool:
    """Signals exactly this process; False when it is gone or another user's.

    A reused pid is never hit; only without pidfds could it be reused between the check and the signal.
    """
    fd = open_pidfd(identity.pid)
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


def open_pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None when it is gone, or there are no pidfds.

    A kernel before 5.3 (Red Hat 8) and some sandboxes have none, and say so by ENOSYS or EPERM.
    """
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def become_subreaper() -> None:
    """Makes orphaned descendants children of this process, so that none escapes (PR_SET_CHILD_SUBREAPER)."""
    import ctypes  # for the supervisor alone

    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def read_environment(pid: int) -> bytes:
    """The environment a process was started with, NUL-separated; empty when it is gone or another user's."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:
        return b""


def command_line(pid: int) -> str | None:
    """The command as shown_command() writes it; None when the process is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4096).replace(b"\0", b" ").decode("utf-8", "replace").split()
        return shown_command(words) or Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
    except OSError:
        return None


def working_directory(pid: int) -> str | None:
    """Where the process is; None when it is gone or another user's."""
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None


def listeners(ports: Collection[int] = (), pids: Collection[int] | None = None) -> tuple[Listener, ...]:
    """The listening TCP sockets, on the given ports or on all, each with its owner as far as it may be seen.

    With `pids`, owners are looked for among these alone: cheap on a machine with thousands of processes.
    """
    found = [(host, port, inode) for host, port, inode in _listening_sockets() if not ports or port in ports]
    if not found:
        return ()
    candidates = pids if pids is not None else _pids()
    owners = _socket_owners({inode for _, _, inode in found}, candidates)
    return tuple(
        Listener(host=host, port=port, pid=pid, command=command_line(pid) if pid else None)
        for host, port, inode in found
        for pid in (owners.get(inode),)
    )


def far_ends() -> frozenset[FarEnd] | None:
    """The far ends of all connected TCP and UDP sockets of this network namespace, whoever holds them."""
    try:
        tcp = [(s.peer_host, s.peer_port, s.inode) for s in sock_diag.tcp_sockets(sock_diag.CONNECTED)]
    except OSError:
        tcp = [row[3:] for name in ("tcp", "tcp6") for row in _net_table(name)]
    udp = [row[3:] for name in ("udp", "udp6") for row in _net_table(name)]
    # Port 0 is that of a socket without a far end, inode 0 that of a connection that no process holds any more.
    return frozenset(FarEnd(*end) for end in (*tcp, *udp) if end[1] and end[2])


def holders_of(path: str | os.PathLike[str], pids: Collection[int] | None = None) -> tuple[int, ...]:
    """The pids, among the given ones or all, that have this file open, as far as they may be seen."""
    wanted = os.path.realpath(path)
    return tuple(pid for pid in (_pids() if pids is None else pids) if wanted in _open_files(pid))


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _open_files(pid: int) -> Iterator[str]:
    """What each descriptor of the process leads to; nothing when it is gone or another user's."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError):
            yield os.readlink(f"/proc/{pid}/fd/{name}")


def _listening_sockets() -> Iterator[tuple[str, int, int]]:
    """(host, port, inode) of each listening TCP socket of this network namespace."""
    try:
        found = list(sock_diag.tcp_sockets(sock_diag.LISTENING))
    except OSError:
        lines = (*_net_table("tcp"), *_net_table("tcp6"))
        return ((host, port, inode) for state, host, port, _, _, inode in lines if state == _TCP_LISTEN)
    return ((s.host, s.port, s.inode) for s in found)


def _net_table(name: str) -> Iterator[tuple[str, str, int, str, int, int]]:
    """(state, host, port, host and port of the far end, inode) of each line of a table in /proc/net."""
    try:
        with open(f"/proc/net/{name}", encoding="ascii") as file:
            lines = file.readlines()[1:]
    except FileNotFoundError:  # a kernel without IPv6
        return
    for line in lines:
        fields = line.split()
        (host, port), (peer, peer_port) = (fields[column].split(":") for column in (1, 2))
        yield fields[3], _host(host), int(port, 16), _host(peer), int(peer_port, 16), int(fields[9])


def _socket_owners(inodes: Collection[int], pids: Collection[int]) -> dict[int, int]:
    """Which of the pids holds which of the sockets, as {inode: pid}; the first holder of each is named."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    owners: dict[int, int] = {}
    for pid in pids:
        for target in _open_files(pid):
            if target in wanted:
                owners.setdefault(wanted[target], pid)
    return owners


@lru_cache(maxsize=4096)
def _host(hexadecimal: str) -> str:
    """The kernel prints each 32-bit word of an address in the machine's byte order."""
    family = socket.AF_INET if len(hexadecimal) == 8 else socket.AF_INET6
    words = struct.unpack(f">{len(hexadecimal) // 8}I", bytes.fromhex(hexadecimal))
    order = "<" if sys.byteorder == "little" else ">"
    return socket.inet_ntop(family, struct.pack(f"{order}{len(words)}I", *words))
