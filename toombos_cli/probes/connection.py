"""Name lookup and TCP connection under one deadline, on IPv4 and IPv6, every failure with its reason."""

import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Thread
from time import monotonic
from typing import Literal

from toombos_cli.base.errors import OperationError
from toombos_cli.probes.result import Cause, Reason, printable

# The machine's own limits: they say nothing about the service.
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


class ProbeError(Exception):
    """The probe ends here, with this reason."""

    def __init__(self, reason: Reason, detail: str, *, cause: Cause | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.cause = cause
        self.detail = detail


class Deadline:
    """A point in time that all steps of one probe share, however many there are."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._end = monotonic() + timeout_s

    def remaining_s(self) -> float:
        """Seconds left, above 0. Raises TimeoutError when there are none."""
        left = self._end - monotonic()
        if left <= 0:
            raise TimeoutError
        return left


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """An open TCP connection and whom it reached."""

    sock: socket.socket
    address: str
    family: Literal["ipv4", "ipv6"]


def connect(host: str, port: int, deadline: Deadline) -> Connected:
    """A connection to the first of the host's addresses that accepts one.

    The time is shared evenly among the addresses, so one that swallows packets does not hide another that answers.
    Raises ProbeError (dns, refused, reset, timeout), and OperationError when this machine has no socket to spare.
    """
    addresses = _addresses(host, port, deadline)
    failures: list[ProbeError] = []
    for left, (family, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        try:
            sock = _open(family, address, deadline.remaining_s() / left)
        except TimeoutError:
            failures.append(ProbeError(Reason.TIMEOUT, f"no connection to {_shown(address)} within the time limit"))
        except OSError as error:
            failures.append(failure(error, f"connection to {_shown(address)}"))
        else:
            return Connected(sock=sock, address=str(address[0]), family="ipv6" if family == socket.AF_INET6 else "ipv4")
    # Where one address times out and another refuses, the service may still be there: timeout says more.
    raise next((f for f in failures if f.reason is not Reason.REFUSED), failures[0])


def failure(error: OSError, doing: str) -> ProbeError:
    """The reason behind an error of a socket. Raises OperationError for those that are this machine's own."""
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
    """The host's (family, socket address) pairs, each once. Only a name costs a lookup, and that is bounded too."""
    numeric = ("127.0.0.1", "::1") if host == "localhost" else (host,)  # RFC 6761, 6.3, whatever /etc/hosts says
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

    # getaddrinfo() takes no time limit; a daemon thread may outlive the probe and keeps nobody waiting.
    thread = Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(deadline.remaining_s())
    if not answers:
        raise ProbeError(Reason.DNS, f"the lookup of {printable(host)} did not end in time")
    answer = answers[0]
    if isinstance(answer, Exception):
        why = getattr(answer, "strerror", None) or "not a valid host name"
        raise ProbeError(Reason.DNS, f"{printable(host)} does not resolve: {why.lower()}")
    return answer


def _look_up(host: str, port: int, flags: int) -> Iterator[_Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    unique = dict.fromkeys((family, (str(address[0]), *address[1:])) for family, _, _, _, address in found)
    yield from unique


def _shown(address: tuple[str | int, ...]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
