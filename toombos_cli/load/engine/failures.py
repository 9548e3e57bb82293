"""Classification of failed requests: an error class and whose fault it is, the phase, and the system's errno."""

import errno
import ssl
from enum import StrEnum

from toombos_cli.load.engine.recorder import RequestFailure
from toombos_cli.load.engine.response import MalformedResponseError


class Fault(StrEnum):
    """Whose fault a failed request is: only the server's can break an objective."""

    SERVER = "server"
    NETWORK = "network"
    MACHINE = "machine"


FAULT_OF: dict[str, Fault] = {
    "refused": Fault.SERVER,
    "reset": Fault.SERVER,
    "eof": Fault.SERVER,
    "truncated": Fault.SERVER,
    "malformed": Fault.SERVER,
    "timeout": Fault.SERVER,
    "unfinished": Fault.SERVER,
    "certificate": Fault.SERVER,
    "tls": Fault.SERVER,
    "unreachable": Fault.NETWORK,
    "stale_reuse": Fault.NETWORK,
    "open_files": Fault.MACHINE,
    "local_ports": Fault.MACHINE,
    "memory": Fault.MACHINE,
    "forbidden": Fault.MACHINE,
    "scenario": Fault.MACHINE,  # a value of the scenario cannot be sent
    "system": Fault.MACHINE,
}
"""Every error class. What is not known (`system`) says nothing about the server."""

_CLASSES: dict[int, str] = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ECONNABORTED: "reset",
    errno.ETIMEDOUT: "timeout",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.EHOSTDOWN: "unreachable",
    errno.EMFILE: "open_files",
    errno.ENFILE: "open_files",
    errno.EADDRNOTAVAIL: "local_ports",
    errno.ENOMEM: "memory",
    errno.ENOBUFS: "memory",
    errno.EPERM: "forbidden",  # a packet filter of this machine
    errno.EACCES: "forbidden",
}


def classify(error: BaseException, phase: str) -> RequestFailure:
    """Return the failure that an exception stands for.

    Phases: `connect`, `tls`, `send`, `wait` (for the first byte) and `body`.
    """
    if isinstance(error, MalformedResponseError):
        return RequestFailure("malformed", phase, "")
    if isinstance(error, ssl.SSLCertVerificationError):
        return RequestFailure("certificate", "tls", "")
    if isinstance(error, ssl.SSLError):
        return RequestFailure("tls", "tls", "")
    number = getattr(error, "errno", None)
    if number in _CLASSES:
        return RequestFailure(_CLASSES[number], phase, errno.errorcode[number])
    if isinstance(error, TimeoutError):
        return RequestFailure("timeout", phase, "")
    if isinstance(error, ConnectionError):
        return RequestFailure("reset", phase, "")
    return RequestFailure("system", phase, errno.errorcode.get(number, "") if number else "")
