"""Name lookup and TCP connection under one deadline, on IPv4 and IPv6; every failure has its reason."""

import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Thread
from time import monotonic
from typing import Literal

from toombos_cli.base.addresses import host_port
from toombos_cli.base.errors import OperationError
from toombos_cli.base.text import one_line
from toombos_cli.probes.result import Cause, Reason

# The limits of this machine: they say nothing about the service.
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """An open TCP connection and the address it reached."""

    sock: socket.socket
    address: str
    family: Literal["ipv4", "ipv6"]


def connect(host: str, port: int, deadline: Deadline) -> Connected:
    """Return a connection to the first of the host's addresses that accepts one.

    The time is shared evenly among the addresses, so one that drops packets does not hide another that responds.
    Raise ProbeError (dns, refused, reset, timeout), or OperationError if this machine has no socket left.
    """
    addresses = _addresses(host, port, deadline)
    failures: list[ProbeError] = []
    for left, (family, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        place = host_port(str(address[0]), int(address[1]))
        try:
            sock = _open(family, address, deadline.remaining_s() / left)
        except TimeoutError:
            failures.append(ProbeError(Reason.TIMEOUT, f"no connection to {place} within the time limit"))
        except OSError as error:
            failures.append(failure(error, f"connection to {place}"))
        else:
            return Connected(sock=sock, address=str(address[0]), family="ipv6" if family == socket.AF_INET6 else "ipv4")
    # If one address times out and another refuses, the service may still be there: timeout says more.
    raise next((f for f in failures if f.reason is not Reason.REFUSED), failures[0])


def failure(error: OSError, doing: str) -> ProbeError:
    """Return the reason for a socket error. Raise OperationError if this machine caused it."""
    name = error.strerror or str(error) or type(error).__name__
    if error.errno in _OURS:
        raise OperationError(f"cannot probe: {name}", hint="end programs that hold many sockets, or raise `ulimit -n`")
    if isinstance(error, ConnectionRefusedError):
        return ProbeError(Reason.REFUSED, f"{doing} refused: nothing listens there")
    if isinstance(error, ConnectionError):
        return ProbeError(Reason.RESET, f"{doing}: {name.lower()}")
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return ProbeError(Reason.TIMEOUT, f"{doing} timed out")
    return ProbeError(Reason.REFUSED, f"{doing}: {name.lower()}")


def _open(family: int, address: tuple[str | int, ...], timeout_s: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


_Address = tuple[socket.AddressFamily, tuple[str | int, ...]]


def _addresses(host: str, port: int, deadline: Deadline) -> list[_Address]:
    """Return the host's (family, socket address) pairs, each once. Only a name needs a lookup, which is bounded too."""
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
    if isinstance(answer, Exception):
        why = getattr(answer, "strerror", None) or "not a valid host name"
        raise ProbeError(Reason.DNS, f"{one_line(host)} does not resolve: {why.lower()}")
    return answer


def _look_up(host: str, port: int, flags: int) -> Iterator[_Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    unique = dict.fromkeys((family, (str(address[0]), *address[1:])) for family, _, _, _, address in found)
    yield from unique
