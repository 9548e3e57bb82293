"""Linux: the process table, identities and listening sockets, read from /proc (proc(5))."""

# Plain strings: a Path object for each of a few thousand small files would cost more than reading them.
# ruff: noqa: PTH115, PTH116, PTH119, PTH120, PTH123, PTH208

import contextlib
import os
import signal
import socket
import stat
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
_PROCESS_CPU_CLOCK = 2  # clock_getcpuclockid(3) maps a pid to ~pid << 3 | CPUCLOCK_SCHED
_PR_SET_CHILD_SUBREAPER = 36


@cache
def boot_id() -> str:
    """Return the kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


@cache
def pid_namespace() -> int:
    """Return the inode of this process's pid namespace; pids from another one mean nothing here."""
    return os.stat("/proc/self/ns/pid").st_ino


def read_row(pid: int) -> ProcessRow | None:
    """Return the process's row, or None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command in parentheses may itself contain spaces and parentheses: count fields from the last one.
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
    """Return the process's CPU time to the nanosecond; once it is gone, that of the row, in ticks of 10 ms."""
    try:
        return time.clock_gettime(~row.pid << 3 | _PROCESS_CPU_CLOCK)
    except OSError:
        return row.cpu_s


def age_s(start_ticks: int) -> float:
    """Return the seconds since a process of this boot started, to a hundredth, unaffected by clock steps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks * _TICK_S


def process_table() -> dict[int, ProcessRow]:
    """Return all processes of this pid namespace by pid, zombies included."""
    rows = (read_row(pid) for pid in _pids())
    return {row.pid: row for row in rows if row is not None}


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of a running process, or None if it is gone or a zombie."""
    row = read_row(pid)
    if row is None or row.zombie:
        return None
    return ProcessIdentity(boot_id=boot_id(), pid_namespace=pid_namespace(), pid=pid, start_ticks=row.start_ticks)


def is_alive(identity: ProcessIdentity) -> bool:
    """Return whether exactly this process is still running (a zombie is not)."""
    return identify(identity.pid) == identity


def send_signal(identity: ProcessIdentity, number: int) -> bool:
    """Signal exactly this process. Return False if it is gone or another user's.

    Never hits a reused pid, except that without pidfds the pid may be reused between the check and the signal.
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
    """Return a descriptor that becomes readable when the process ends, or None if it is gone or there are no pidfds.

    Kernels before 5.3 (Red Hat 8) and some sandboxes have none and fail with ENOSYS or EPERM.
    """
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def become_subreaper() -> None:
    """Make orphaned descendants children of this process, so that none escapes (PR_SET_CHILD_SUBREAPER)."""
    import ctypes  # only the supervisor needs it

    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def read_environment(pid: int) -> bytes:
    """Return the initial environment of a process, NUL-separated; empty if it is gone or another user's."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:
        return b""


def is_readable(pid: int) -> bool:
    """Return whether this user may read the process's environment and descriptors, even if there are none."""
    try:
        with open(f"/proc/{pid}/environ", "rb"):
            return True
    except OSError:
        return False


def real_uid(pid: int) -> int | None:
    """Return the real user id of a process, or None if it is gone."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return int(file.read().partition(b"\nUid:")[2].split(None, 1)[0])
    except (OSError, IndexError):
        return None


def command_line(pid: int) -> str | None:
    """Return the command as shown_command() writes it, or None if the process is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4096).replace(b"\0", b" ").decode("utf-8", "replace").split()
        return shown_command(words) or Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
    except OSError:
        return None


def working_directory(pid: int) -> str | None:
    """Return the process's working directory, or None if it is gone or another user's."""
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None


def listeners(ports: Collection[int] = (), pids: Collection[int] | None = None) -> tuple[Listener, ...]:
    """Return the listening TCP sockets, on the given ports or on all, each with its owner if visible.

    With `pids`, search for owners only among these: cheap on a machine with thousands of processes.
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
    """Return the far ends of all connected TCP and UDP sockets of this network namespace, of any owner."""
    try:
        tcp = [(s.peer_host, s.peer_port, s.inode) for s in sock_diag.tcp_sockets(sock_diag.CONNECTED)]
    except OSError:
        tcp = [row[3:] for name in ("tcp", "tcp6") for row in _net_table(name)]
    udp = [row[3:] for name in ("udp", "udp6") for row in _net_table(name)]
    # Port 0 marks a socket without a far end, inode 0 a connection that no process owns any more.
    return frozenset(FarEnd(*end) for end in (*tcp, *udp) if end[1] and end[2])


def lock_holders(path: str | os.PathLike[str], pids: Collection[int] | None = None) -> tuple[int, ...]:
    """Return the pids, among the given ones or all, that hold an exclusive flock(2) on this file, as far as visible.

    The descriptor must be of this very file, not of one that a link leads to, and the file must belong to this user or
    to the user of the process. After the file was removed, the name that the kernel keeps with the descriptor counts.
    """
    try:
        there: os.stat_result | None = os.lstat(path)
    except OSError:
        there = None
    removed = f"{os.path.realpath(os.path.dirname(path))}/{os.path.basename(path)} (deleted)"
    return tuple(
        pid
        for pid in (_pids() if pids is None else pids)
        if any(_is_of(file, link, there, removed, pid) for file, link in _locked_files(pid))
    )


def _is_of(file: os.stat_result, link: str, there: os.stat_result | None, removed: str, pid: int) -> bool:
    """Return whether a locked file is the one that is there, or was, and belongs to a user who may use it as proof."""
    same = os.path.samestat(file, there) if there is not None else False
    if not same and (link != removed or file.st_nlink):
        return False
    return stat.S_ISREG(file.st_mode) and file.st_uid in (os.geteuid(), real_uid(pid))


def _locked_files(pid: int) -> Iterator[tuple[os.stat_result, str]]:
    """Yield each open file on which the process holds an exclusive flock(2), and the name the kernel keeps of it."""
    place = f"/proc/{pid}"
    try:
        names = os.listdir(f"{place}/fdinfo")
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError):
            with open(f"{place}/fdinfo/{name}", "rb") as file:
                text = file.read()
            if b"FLOCK" in text and b"WRITE" in text:
                yield os.stat(f"{place}/fd/{name}"), os.readlink(f"{place}/fd/{name}")


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _open_files(pid: int) -> Iterator[str]:
    """Yield the target of each descriptor of the process; nothing if it is gone or another user's."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError):
            yield os.readlink(f"/proc/{pid}/fd/{name}")


def _listening_sockets() -> Iterator[tuple[str, int, int]]:
    """Yield (host, port, inode) of each listening TCP socket of this network namespace."""
    try:
        found = list(sock_diag.tcp_sockets(sock_diag.LISTENING))
    except OSError:
        lines = (*_net_table("tcp"), *_net_table("tcp6"))
        return ((host, port, inode) for state, host, port, _, _, inode in lines if state == _TCP_LISTEN)
    return ((s.host, s.port, s.inode) for s in found)


def _net_table(name: str) -> Iterator[tuple[str, str, int, str, int, int]]:
    """Yield (state, host, port, host and port of the far end, inode) of each line of a table in /proc/net."""
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
    """Return {inode: pid} of the sockets that these pids own; the first owner of a shared one."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    owners: dict[int, int] = {}
    for pid in pids:
        for target in _open_files(pid):
            if target in wanted:
                owners.setdefault(wanted[target], pid)
    return owners


@lru_cache(maxsize=4096)
def _host(hexadecimal: str) -> str:
    """Return the address; the kernel prints each 32-bit word of it in the machine's byte order."""
    family = socket.AF_INET if len(hexadecimal) == 8 else socket.AF_INET6
    words = struct.unpack(f">{len(hexadecimal) // 8}I", bytes.fromhex(hexadecimal))
    order = "<" if sys.byteorder == "little" else ">"
    return socket.inet_ntop(family, struct.pack(f"{order}{len(words)}I", *words))
