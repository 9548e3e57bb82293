"""Name lookup and connection under one deadline, on IPv4, IPv6 and Unix sockets; every failure has its reason."""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Literal

import msgspec

from toombos_cli.base.addresses import host_port
from toombos_cli.base.errors import OperationError
from toombos_cli.base.text import one_line
from toombos_cli.probes.result import Cause, Reason

# The limits of this machine: they say nothing about the service.
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
_MOST_INFORMATIVE = (Reason.TIMEOUT, Reason.RESET, Reason.REFUSED, Reason.ERROR)
"""If one address times out and another refuses, the service may still be there: timeout says more."""
_LONGEST_UNIX_PATH = 107  # bytes, unix(7)


class ProbeError(Exception):
    """Ends a probe with a reason."""

    def __init__(self, reason: Reason, detail: str, *, cause: Cause | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.cause = cause
        self.detail = detail


class Deadline:
    """A point in time shared by all steps of one probe."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._end = monotonic() + timeout_s

    def remaining_s(self) -> float:
        """Return the seconds left, above 0. Raise TimeoutError if there are none."""
        left = self._end - monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class Connected(msgspec.Struct, frozen=True, kw_only=True):
    """An open connection and the address it reached; `address` is None on a Unix socket, and `peer_pid` over TCP."""

    sock: socket.socket
    family: Literal["ipv4", "ipv6", "unix"]
    address: str | None = None
    peer_pid: int | None = None


def connect(host: str, port: int, deadline: Deadline) -> Connected:
    """Return a connection to the first of the host's addresses that accepts one.

    The time is shared evenly among the addresses, so one that drops packets does not hide another that responds.
    Raise ProbeError (dns, refused, reset, timeout, error), or OperationError if this machine's own limits were the only
    obstacle.
    """
    addresses = addresses_of(host, port, deadline)
    failures: list[ProbeError] = []
    ours: list[OSError] = []
    for left, (family, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        place = host_port(str(address[0]), int(address[1]))
        try:
            sock = _open(family, address, deadline.remaining_s() / left)
        except TimeoutError:
            failures.append(ProbeError(Reason.TIMEOUT, f"no connection to {place} within the time limit"))
        except OSError as error:
            if error.errno in _OURS:  # such as EADDRNOTAVAIL of ::1, if this machine has no IPv6
                ours.append(error)
            else:
                failures.append(failure(error, f"connection to {place}"))
        else:
            return Connected(sock=sock, address=str(address[0]), family="ipv6" if family == socket.AF_INET6 else "ipv4")
    if not failures:
        raise failure(ours[0], "connection")
    raise min(failures, key=lambda failed: _MOST_INFORMATIVE.index(failed.reason))


def connect_unix(path: Path, deadline: Deadline) -> Connected:
    """Return a connection to a Unix socket, which may have a path of any length.

    Raise ProbeError (refused, timeout, error), or OperationError if this machine has no socket left.
    """
    doing = f"connection to unix:{path}"
    try:
        with ExitStack() as stack:
            address = os.fsencode(path)
            if len(address) > _LONGEST_UNIX_PATH:
                directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, directory)
                address = os.fsencode(f"/proc/self/fd/{directory}/{path.name}")
            sock = _open(socket.AF_UNIX, address, deadline.remaining_s())
    except TimeoutError:
        raise ProbeError(Reason.TIMEOUT, f"no {doing} within the time limit") from None
    except (FileNotFoundError, NotADirectoryError):
        raise ProbeError(Reason.REFUSED, f"{doing} refused: nothing listens there") from None
    except OSError as error:
        raise failure(error, doing) from None
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid = struct.unpack("3i", credentials)[0]  # 0 in another pid namespace
    return Connected(sock=sock, family="unix", peer_pid=pid or None)


def failure(error: OSError, doing: str) -> ProbeError:
    """Return the reason for a socket error. Raise OperationError if this machine's own limits caused it.

    An error that is not known says nothing about the service: the reason is error.
    """
    name = error.strerror or str(error) or type(error).__name__
    if error.errno == errno.EADDRNOTAVAIL:
        hint = "close connections that this machine holds, or widen net.ipv4.ip_local_port_range"
        raise OperationError(f"cannot probe: {name}", hint=hint)
    if error.errno in _OURS:
        raise OperationError(f"cannot probe: {name}", hint="end programs that hold many sockets, or raise `ulimit -n`")
    if isinstance(error, ConnectionRefusedError):
        return ProbeError(Reason.REFUSED, f"{doing} refused: nothing listens there")
    if isinstance(error, ConnectionError):
        return ProbeError(Reason.RESET, f"{doing}: {name.lower()}")
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return ProbeError(Reason.TIMEOUT, f"{doing} timed out")
    reason = Reason.REFUSED if error.errno in _UNREACHABLE else Reason.ERROR
    return ProbeError(reason, f"{doing}: {name.lower()}")


def _open(family: int, address: tuple[str | int, ...] | bytes, timeout_s: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


_Address = tuple[socket.AddressFamily, tuple[str | int, ...]]


def addresses_of(host: str, port: int, deadline: Deadline) -> list[_Address]:
    """Return the host's (family, socket address) pairs, each once. Only a name needs a lookup, which is bounded too.

    Raise ProbeError with reason dns, or OperationError if this machine's own limits prevented the lookup.
    """
    numeric = ("127.0.0.1", "::1") if host == "localhost" else (host,)  # RFC 6761, 6.3, regardless of /etc/hosts
    try:
        return [found for address in numeric for found in _look_up(address, port, socket.AI_NUMERICHOST)]
    except (OSError, UnicodeError):
        pass
    answers: list[list[_Address] | Exception] = []

    def look_up() -> None:
        try:
            answers.append(list(_look_up(host, port, 0)))
        except (OSError, UnicodeError) as error:
            answers.append(error)

    # getaddrinfo() has no time limit; a daemon thread may outlive the probe without delaying it.
    thread = Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(deadline.remaining_s())
    if not answers:
        raise ProbeError(Reason.DNS, f"the lookup of {one_line(host)} did not end in time")
    answer = answers[0]
    if isinstance(answer, OSError) and not isinstance(answer, socket.gaierror):
        raise failure(answer, f"lookup of {one_line(host)}")  # no socket or file for the question
    if isinstance(answer, Exception):
        raise does_not_resolve(host, getattr(answer, "strerror", None) or "not a valid host name")
    return answer


def does_not_resolve(host: str, why: str) -> ProbeError:
    """Return the error for a host name without an address."""
    return ProbeError(Reason.DNS, f"{one_line(host)} does not resolve: {why.lower()}")


def _look_up(host: str, port: int, flags: int) -> Iterator[_Address]:
    name = host.encode("ascii") if host.isascii() else host  # a text would be looked up in the tables of IDNA
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=flags)
    unique = dict.fromkeys((family, (str(address[0]), *address[1:])) for family, _, _, _, address in found)
    yield from unique
