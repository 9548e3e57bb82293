"""TLS for probes: who is let in, and whether a port speaks TLS at all. Imports ssl, so it is imported when needed."""

import contextlib
import errno
import ipaddress
import socket
import ssl

from toombos_cli.probes.connection import Deadline, ProbeError, connect
from toombos_cli.probes.result import Cause, Reason

RECORDS = (b"\x15\x03", b"\x16\x03")
"""What an answer in TLS begins with: the header of an alert or handshake record (RFC 8446, 5.1)."""


def wrap(sock: socket.socket, host: str, address: str) -> ssl.SSLSocket:
    """The socket after a TLS handshake. Raises ProbeError with reason tls, ConnectionError when the server
    hung up, and other OSErrors.

    Certificates are verified, except on the loopback: there a self-made one is usual, and it is the listening
    socket's owner that proves who answers.
    """
    context = _unverifying() if ipaddress.ip_address(address).is_loopback else ssl.create_default_context()
    try:
        sock.getpeername()  # wrap_socket() leaves a connection unwrapped, or open, that is gone already
        return context.wrap_socket(sock, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        detail = f"certificate not accepted: {error.verify_message}"
        raise ProbeError(Reason.TLS, detail, cause=Cause.CERTIFICATE) from None
    except ssl.SSLEOFError:
        raise ConnectionAbortedError from None
    except ssl.SSLError as error:
        if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
            raise does_not_speak_tls() from None
        raise ProbeError(Reason.TLS, f"TLS handshake failed: {error.reason or error}") from None
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            raise ConnectionResetError from None
        raise


def _unverifying() -> ssl.SSLContext:
    """A context without certificate authorities: reading those takes 20 ms of CPU, which is out of a probe's time."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def does_not_speak_tls() -> ProbeError:
    """What to raise for an https URL of a plain port."""
    return ProbeError(Reason.TLS, "the port does not speak TLS, and the URL says https")


def speaks_tls(host: str, port: int, deadline: Deadline) -> bool:
    """Whether a server of TLS listens there: asked only of one that hung up on a plain request.

    It answers a greeting that it understands, if with an alert: nothing of that can be lost by a reset, as an alert to
    what it did not read to the end is.
    """
    context = _unverifying()
    greeting = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), greeting, server_hostname=host).do_handshake()
    return _first_bytes(host, port, deadline, greeting.read()) in RECORDS


def speaks_http(host: str, port: int, deadline: Deadline) -> bool:
    """Whether a server of plain HTTP listens there: asked only of one that hung up on a TLS handshake."""
    return _first_bytes(host, port, deadline, b"HEAD / HTTP/1.0\r\n\r\n") == b"HT"


def _first_bytes(host: str, port: int, deadline: Deadline, sent: bytes) -> bytes:
    """The two bytes that an answer begins with; b"" when there is none."""
    try:
        with connect(host, port, deadline).sock as sock:
            sock.settimeout(deadline.remaining_s())
            sock.sendall(sent)
            return sock.recv(2)
    except (OSError, ProbeError):
        return b""
