"""TLS for probes: the handshake, and whether a port speaks TLS. Imports ssl, so import it only when needed."""

import contextlib
import errno
import socket
import ssl

from toombos_cli.base.addresses import is_loopback
from toombos_cli.probes.connection import Deadline, ProbeError, connect
from toombos_cli.probes.result import Cause, Reason

RECORDS = (b"\x15\x03", b"\x16\x03")
"""The first bytes of a response in TLS: the header of an alert or handshake record (RFC 8446, 5.1)."""


def wrap(sock: socket.socket, host: str, address: str) -> ssl.SSLSocket:
    """Return the socket after a TLS handshake. Raise ProbeError with reason tls, ConnectionError if the server
    hung up, and other OSErrors.

    Certificates are verified except on the loopback, where self-signed ones are common and the owner of the
    listening socket proves who responds.
    """
    context = _unverifying() if is_loopback(address) else ssl.create_default_context()
    try:
        sock.getpeername()  # wrap_socket() leaves a closed connection unwrapped, or open
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
    """Return a context without certificate authorities: reading them takes 20 ms of CPU out of the probe's time."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def does_not_speak_tls() -> ProbeError:
    """Return the error for an https URL of a plain port."""
    return ProbeError(Reason.TLS, "the port does not speak TLS, but the URL says https")


def speaks_tls(host: str, port: int, deadline: Deadline) -> bool:
    """Return whether a TLS server listens there. Called only after a server hung up on a plain request.

    Sends a valid greeting, to which the server responds at least with an alert. After a request that it did not read
    to the end, its reset may destroy the alert; after a greeting, nothing can be lost.
    """
    context = _unverifying()
    greeting = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), greeting, server_hostname=host).do_handshake()
    return _first_bytes(host, port, deadline, greeting.read()) in RECORDS


def speaks_http(host: str, port: int, deadline: Deadline) -> bool:
    """Return whether a plain HTTP server listens there. Called only after a server hung up on a TLS handshake."""
    return _first_bytes(host, port, deadline, b"HEAD / HTTP/1.0\r\n\r\n") == b"HT"


def _first_bytes(host: str, port: int, deadline: Deadline, sent: bytes) -> bytes:
    """Return the first two bytes of a response, or b"" if there is none."""
    try:
        with connect(host, port, deadline).sock as sock:
            sock.settimeout(deadline.remaining_s())
            sock.sendall(sent)
            return sock.recv(2)
    except (OSError, ProbeError):
        return b""
