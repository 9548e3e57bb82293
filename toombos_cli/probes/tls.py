"""TLS for probes: the context, the handshake, and whether a port speaks TLS. Imports ssl, so import it when needed."""

import contextlib
import errno
import socket
import ssl
from collections.abc import Callable, Iterator

from toombos_cli.base.addresses import is_loopback
from toombos_cli.probes.connection import Connected, Deadline, ProbeError
from toombos_cli.probes.endpoint import Endpoint
from toombos_cli.probes.result import Cause, Reason

RECORDS = (b"\x15\x03", b"\x16\x03")
"""The first bytes of a response in TLS: the header of an alert or handshake record (RFC 8446, 5.1)."""

_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
_WANTS_CERTIFICATE = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
_CERTIFICATE_REFUSED = frozenset(
    {
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "TLSV1_ALERT_UNKNOWN_CA",
    }
)
"""What a server sends about a client's certificate (RFC 8446, 6.2), in the names of OpenSSL."""


def new_context() -> ssl.SSLContext:
    """Return a context that trusts nobody yet: reading the authorities takes 20 ms of CPU out of the probe's time."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def wrap(
    sock: socket.socket, context: ssl.SSLContext, host: str, *, is_http2_alone: Callable[[], bool]
) -> ssl.SSLSocket:
    """Return the socket after a TLS handshake. `is_http2_alone` is asked if the server refuses it.

    Raise ProbeError with reason tls, ConnectionError if the server hung up, and other OSErrors.
    """
    try:
        sock.getpeername()  # wrap_socket() leaves a closed connection unwrapped, or open
        return context.wrap_socket(sock, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        detail = f"certificate not accepted: {error.verify_message}"
        raise ProbeError(Reason.TLS, detail, cause=Cause.CERTIFICATE) from None
    except ssl.SSLEOFError:
        raise ConnectionAbortedError from None
    except ssl.SSLError as error:
        # Python has no name for the alert `no_application_protocol`, so what the server speaks is tried.
        if error.reason not in _NOT_TLS and is_http2_alone():
            detail = "the server speaks HTTP/2 alone; `http2 = true` asks for it"
            raise ProbeError(Reason.TLS, detail, cause=Cause.HTTP2) from None
        raise failed(error, "TLS handshake failed") from None
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            raise ConnectionResetError from None
        raise


def failed(error: ssl.SSLError, doing: str) -> ProbeError:
    """Return the error for a handshake or a connection that TLS ended."""
    if error.reason in _NOT_TLS:
        return does_not_speak_tls()
    if error.reason == _WANTS_CERTIFICATE:
        return ProbeError(Reason.TLS, "the server wants a client certificate", cause=Cause.CLIENT_CERTIFICATE)
    if error.reason in _CERTIFICATE_REFUSED:
        detail = f"the server does not accept the client certificate: {error.reason}"
        return ProbeError(Reason.TLS, detail, cause=Cause.CLIENT_CERTIFICATE)
    return ProbeError(Reason.TLS, f"{doing}: {error.reason or error}")


def does_not_speak_tls() -> ProbeError:
    """Return the error for an https URL of a plain port."""
    return ProbeError(Reason.TLS, "the port does not speak TLS, but the URL says https")


def on_plain_url() -> ProbeError:
    """Return the error for an http URL of a TLS port."""
    return ProbeError(Reason.TLS, "the port speaks TLS, but the URL says http")


def is_near(address: str | None) -> bool:
    """Report whether a server's certificate need not be verified: the owner of the listening socket proves who it is.

    So it is on the loopback, where self-signed certificates are common, and on a Unix socket (None).
    """
    return address is None or is_loopback(address)


def trust(context: ssl.SSLContext, endpoint: Endpoint, *, is_local: bool) -> None:
    """Set whose certificates the context accepts, and which one it shows. Raise ProbeError with reason error.

    Certificates are verified except if the server `is_local`; with a `ca_file` or at another place there, too.
    """
    is_known = is_local and not endpoint.verifies_loopback
    with _readable(f"ca_file {endpoint.ca_file}"):
        if endpoint.insecure or (is_known and endpoint.ca_file is None):
            _trust_all(context)
        elif endpoint.ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(endpoint.ca_file)
    if endpoint.client_cert is not None:
        certificate, key = endpoint.client_cert
        files = {certificate: "client_cert"} | ({} if key == certificate else {key: "client_key"})
        for file, name in files.items():
            with _readable(f"{name} {file}"):
                file.open("rb").close()
        with _readable(" and ".join(f"{name} {file}" for file, name in files.items())):
            context.load_cert_chain(certificate, key, password=_no_password)


def _trust_all(context: ssl.SSLContext) -> None:
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE


@contextlib.contextmanager
def _readable(what: str) -> Iterator[None]:
    """Turn an error of reading a certificate file into a ProbeError: it says nothing about the server."""
    try:
        yield
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise ProbeError(Reason.ERROR, f"{what} cannot be used: {why}") from None


def _no_password() -> str:
    """Raise ValueError: OpenSSL would ask for the password of an encrypted key on the terminal."""
    raise ValueError("the key is encrypted")


def _greeting(host: str) -> bytes:
    """Return the first bytes of a TLS client."""
    context = new_context()
    greeting = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), greeting, server_hostname=host).do_handshake()
    return greeting.read()


def speaks_tls(connect: Callable[[], Connected], host: str, deadline: Deadline) -> bool:
    """Return whether a TLS server listens there. Called only after a server hung up on a plain request.

    Sends a valid greeting, to which the server responds at least with an alert. After a request that it did not read
    to the end, its reset may destroy the alert; after a greeting, nothing can be lost.
    """
    return _first_bytes(connect, deadline, _greeting(host)) in RECORDS


def speaks_http2(connect: Callable[[], Connected], host: str, deadline: Deadline) -> bool:
    """Return whether the server accepts a TLS handshake for HTTP/2."""
    context = new_context()
    _trust_all(context)
    context.set_alpn_protocols(["h2"])
    try:
        with connect().sock as sock:
            sock.settimeout(deadline.remaining_s())
            with context.wrap_socket(sock, server_hostname=host) as secured:
                return secured.selected_alpn_protocol() == "h2"
    except (OSError, ProbeError):
        return False


def speaks_http(connect: Callable[[], Connected], deadline: Deadline) -> bool:
    """Return whether a plain HTTP server listens there. Called only after a server hung up on a TLS handshake."""
    return _first_bytes(connect, deadline, b"HEAD / HTTP/1.0\r\n\r\n") == b"HT"


def _first_bytes(connect: Callable[[], Connected], deadline: Deadline, sent: bytes) -> bytes:
    """Return the first two bytes of a response, or b"" if there is none."""
    try:
        with connect().sock as sock:
            sock.settimeout(deadline.remaining_s())
            sock.sendall(sent)
            return sock.recv(2)
    except (OSError, ProbeError):
        return b""
