"""Classification of failed requests: an error class, the phase, and the system's errno."""

import errno
import ssl

from toombos_cli.load.engine.recorder import RequestFailure
from toombos_cli.load.engine.response import MalformedResponseError

_CLASSES: dict[int, str] = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ECONNABORTED: "reset",
    errno.ETIMEDOUT: "timeout",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.EMFILE: "open_files",
    errno.ENFILE: "open_files",
    errno.EADDRNOTAVAIL: "local_ports",
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
