"""Linux: what psutil lacks, from /proc (proc(5)) and the kernel.

- Start ticks, and with them the rows of the process table. psutil's create_time() moves with the clock, so a stored
  identity needs the ticks, and a row must come from the same read as they do: after two reads, a reused pid would give
  a stranger's children to a service. psutil's children() compares create_time()s, so a clock step hides processes from
  it. A table of 3,000 processes takes 60 ms here and 240 ms through psutil.
- Signals through a pidfd, which cannot hit a reused pid, and the end of a process without polling.
- Adopting orphans (PR_SET_CHILD_SUBREAPER), and CPU time in nanoseconds.
- The environment as bytes: psutil's ends at the first empty entry, which a program that overwrites its environment
  leaves behind. The tag in it proves whose a process is.
- The inodes of sockets, for the kernel's socket diagnosis: psutil reads all of /proc/net, for each process again.
- The flock(2) locks of a process: they prove whose it is, too.
"""

# Plain strings: a Path object for each of a few thousand small files would cost more than reading them.
# ruff: noqa: PTH115, PTH116, PTH119, PTH120, PTH123, PTH208

import contextlib
import os
import stat
import time
from collections import Counter
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

from toombos_cli.processes import sock_diag
from toombos_cli.processes.rows import FarEnd, Listener, ProcessRow

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_STAT_BYTES = 4096  # the kernel returns the line, which is shorter, at once
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
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
    """Return the process's row, or None if there is no such process or it is not visible (`hidepid`)."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
        try:
            text = os.read(fd, _STAT_BYTES)  # a file object would take as long again, for each of all processes
        finally:
            os.close(fd)
    except OSError:
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


def waits_for_child(pid: int) -> bool:
    """Return whether the process sleeps in wait(2); False also if the kernel does not say."""
    try:
        with open(f"/proc/{pid}/wchan", "rb") as file:
            return file.read() == b"do_wait"
    except OSError:
        return False


def listeners(ports: Collection[int] = (), pids: Collection[int] | None = None) -> tuple[Listener, ...]:
    """Return the listening TCP sockets, on the given ports or on all, each with its owner if visible.

    With `pids`, search for owners only among these: cheap on a machine with thousands of processes.
    """
    try:
        found = [s for s in sock_diag.tcp_sockets(sock_diag.LISTENING) if not ports or s.port in ports]
    except OSError:
        from toombos_cli.processes import portable

        return portable.listeners(ports, pids)
    owners = _socket_owners({s.inode for s in found}, all_pids() if pids is None else pids) if found else {}
    return tuple(Listener(host=s.host, port=s.port, pid=owners.get(s.inode), uid=s.uid) for s in found)


def far_ends() -> frozenset[FarEnd] | None:
    """Return the far ends of all connected TCP and UDP sockets of this network namespace, of any owner."""
    ends: set[FarEnd] = set()
    for kind, sockets in (("tcp", sock_diag.tcp_sockets), ("udp", sock_diag.udp_sockets)):
        try:
            ends.update([FarEnd(s.peer_host, s.peer_port, s.inode) for s in sockets(sock_diag.CONNECTED)])
        except OSError:
            ends.update(_far_ends_without_diagnosis(kind))
    # Port 0 marks a socket without a far end, inode 0 a connection that no process owns any more.
    return frozenset(end for end in ends if end.port and end.inode)


def connected_to(ports: Collection[int], pids: Collection[int]) -> frozenset[int]:
    """Return those of the ports to which these pids have a TCP connection, as far as visible.

    Connections that live for milliseconds are missed at times: their owner is looked for right after they were seen.
    """
    try:
        ends = {s.inode: s.peer_port for s in sock_diag.tcp_sockets(sock_diag.CONNECTED) if s.peer_port in ports}
    except OSError:
        from toombos_cli.processes import portable

        return portable.connected_to(ports, pids)
    return frozenset(ends[inode] for inode in _socket_owners(ends, pids))


def clients_of(port: int) -> dict[int, int]:
    """Return {pid: connections} of the processes here that are connected to a TCP port, as far as visible."""
    try:
        inodes = [s.inode for s in sock_diag.tcp_sockets(sock_diag.CONNECTED) if s.peer_port == port and s.inode]
    except OSError:
        from toombos_cli.processes import portable

        return portable.clients_of(port)
    return dict(Counter(_socket_owners(inodes, all_pids()).values()))


def _far_ends_without_diagnosis(kind: str) -> Iterator[FarEnd]:
    import psutil

    for one in psutil.net_connections(kind):
        if one.raddr and one.pid:
            with contextlib.suppress(OSError):
                yield FarEnd(one.raddr.ip, one.raddr.port, os.stat(f"/proc/{one.pid}/fd/{one.fd}").st_ino)


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
        for pid in (all_pids() if pids is None else pids)
        if any(_is_of(file, link, there, removed, pid) for file, link in _locked_files(pid))
    )


def open_file(pid: int, device: int, inode: int) -> tuple[str, str] | None:
    """Return the path of a process's descriptor of this file, and the name that the file has now.

    Return ("", "") if the process has no such descriptor, None if this user may not see its descriptors.
    """
    place = f"/proc/{pid}/fd"
    try:
        names = sorted(os.listdir(place), key=int)
    except OSError:
        return None
    for name in names:
        with contextlib.suppress(OSError):
            found = os.stat(f"{place}/{name}")
            if (found.st_dev, found.st_ino) == (device, inode):
                return f"{place}/{name}", os.readlink(f"{place}/{name}")
    return "", ""


def _is_of(file: os.stat_result, link: str, there: os.stat_result | None, removed: str, pid: int) -> bool:
    """Return whether a locked file is the one that is there, or was, and belongs to a user who may use it as proof."""
    same = os.path.samestat(file, there) if there is not None else False
    if not same and (link != removed or file.st_nlink):
        return False
    if file.st_uid == os.geteuid():
        return stat.S_ISREG(file.st_mode)
    from toombos_cli.processes.portable import real_uid

    return stat.S_ISREG(file.st_mode) and file.st_uid == real_uid(pid)


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


def all_pids() -> list[int]:
    """Return the pids of this pid namespace that are visible, zombies included."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _socket_owners(inodes: Collection[int], pids: Collection[int]) -> dict[int, int]:
    """Return {inode: pid} of the sockets that these pids own, as far as visible; the first owner of a shared one."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    owners: dict[int, int] = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    inode = wanted.get(os.readlink(f"/proc/{pid}/fd/{name}"))
                    if inode is not None:
                        owners.setdefault(inode, pid)
    return owners
