"""How a service is reached: over TCP or a Unix socket, with or without TLS, and in which version of HTTP."""

from pathlib import Path

import msgspec

from toombos_cli.manifest.tables.service import Service


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The properties of a connection that a URL does not hold. Paths are absolute."""

    unix: Path | None = None
    """The Unix socket to connect to instead of the host and port of the URL."""
    ca_file: Path | None = None
    """The certificate authorities, in PEM, that the server's certificate is verified with, also on the loopback."""
    client_cert: tuple[Path, Path] | None = None
    """The files of the client's certificate and of its key, in PEM; both may be the same file."""
    verifies_loopback: bool = False
    """Verify a certificate on the loopback too: the port may lead to another machine."""
    insecure: bool = False
    """Accept any certificate. Without it, only the loopback may use an unverifiable one, unless `ca_file` is set."""
    http2: bool = False
    """Speak HTTP/2: over TLS if the server offers it, and without TLS at once (RFC 9113, 3.3)."""


DIRECT = Endpoint()
"""TCP, HTTP/1.1, and certificates that are verified except on the loopback."""


def endpoint_of(service: Service) -> Endpoint:
    """Return how this service is reached. Whether the files can be used shows in the handshake."""
    plain = not (service.unix or service.ca_file or service.client_cert or service.insecure or service.http2)
    if plain and service.is_here:
        return DIRECT
    certificate = Path(service.client_cert)
    return Endpoint(
        unix=Path(service.unix) if service.unix else None,
        ca_file=Path(service.ca_file) if service.ca_file else None,
        client_cert=(certificate, Path(service.client_key or certificate)) if service.client_cert else None,
        verifies_loopback=not service.is_here,
        insecure=service.insecure,
        http2=service.http2,
    )
