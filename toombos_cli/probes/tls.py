"""TLS for probes: who is let in, and whether a port speaks TLS at all. Imports ssl, so it is imported when needed."""

import ipaddress
import socket
import ssl

from toombos_cli.probes.connection import Deadline, ProbeError, connect
from toombos_cli.probes.result import Reason


def wrap(sock: socket.socket, host: str, address: str) -> ssl.SSLSocket:
    """The socket after a TLS handshake. Raises ProbeError with reason tls, and OSError.

    Certificates are verified, except on the loopback: there a self-made one is usual, and it is the listening
    socket's owner that proves who answers.
    """
    context = ssl.create_default_context()
    if ipaddress.ip_address(address).is_loopback:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        return context.wrap_socket(sock, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise ProbeError(Reason.TLS, f"certificate not accepted: {error.verify_message}") from None
    except ssl.SSLError as error:
        if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
            raise ProbeError(Reason.TLS, "the port does not speak TLS, and the URL says https") from None
        raise ProbeError(Reason.TLS, f"TLS handshake failed: {error.reason or error}") from None


def speaks_tls(host: str, port: int, deadline: Deadline) -> bool:
    """Whether a server of TLS listens there: asked only of one that hung up on a plain request."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        connected = connect(host, port, deadline)
        with connected.sock as sock:
            sock.settimeout(deadline.remaining_s())
            context.wrap_socket(sock, server_hostname=host).close()
    except ssl.SSLError as error:  # an alert is TLS as well: the server wants a version, a name or a certificate
        return "ALERT" in (error.reason or "")
    except (OSError, ProbeError):
        return False
    return True
