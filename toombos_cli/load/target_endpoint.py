"""How a target is reached beside its URL: a Unix socket, and the certificates of both sides."""

import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import msgspec

from toombos_cli.base.errors import ConfigurationError, OperationError
from toombos_cli.load.plan import LoadTarget, Scheme
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes.connection import ProbeError
from toombos_cli.probes.endpoint import Endpoint, endpoint_of
from toombos_cli.probes.tls import new_context, trust

_UNIX = re.compile(r"(?:(?P<scheme>https?)://)?unix:(?P<path>\.{0,2}/[^:]*|[^:/]*[^:/\d][^:]*)(?::(?P<uri>/.*))?")


class UnixPlace(NamedTuple):
    """A place on a Unix socket: `url` is what requests ask for there."""

    scheme: Scheme
    path: Path
    url: str


def unix_place(text: str) -> UnixPlace | None:
    """Return the place that `unix:PATH`, `http://unix:PATH` or `http://unix:PATH:/URI` names, or None."""
    found = _UNIX.fullmatch(text)
    if found is None:
        return None
    scheme = cast(Scheme, found["scheme"] or "http")
    return UnixPlace(scheme, Path(found["path"]), f"{scheme}://localhost{found['uri'] or '/'}")


def unix_target(url: str, path: Path, endpoint: Endpoint, *, insecure: bool, timeout_s: float, hint: str) -> LoadTarget:
    """Return the target on a Unix socket, which accepts connections. Raise OperationError if it does not."""
    parts = urlsplit(url)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(min(timeout_s, 5.0))
        try:
            sock.connect(str(path))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise OperationError(f"no connection: {reason}", where=f"unix:{path}", hint=hint) from None
    return LoadTarget(
        url=url,
        scheme=cast(Scheme, parts.scheme),
        host=parts.hostname or "localhost",
        port=0,
        address=f"unix:{path}",
        verify_tls=False,
        endpoint=_chosen(msgspec.structs.replace(endpoint, unix=path), insecure=insecure),
    )


def with_endpoint(target: LoadTarget, services: Mapping[str, Service], *, insecure: bool) -> LoadTarget:
    """Return the target with the certificates of the service that the manifest has at this place."""
    service = next((s for s in services.values() if s.port == target.port and _is_at(s, target)), None)
    endpoint = Endpoint() if service is None else endpoint_of(service)
    return replace(target, endpoint=_chosen(endpoint, insecure=insecure))


def _is_at(service: Service, target: LoadTarget) -> bool:
    return not service.unix and service.scheme == target.scheme and service.host in (target.host, target.address)


def _chosen(endpoint: Endpoint, *, insecure: bool) -> Endpoint:
    return msgspec.structs.replace(endpoint, insecure=True, ca_file=None) if insecure else endpoint


def check_certificates(target: LoadTarget) -> None:
    """Raise ConfigurationError if a certificate file of the target cannot be used."""
    if target.scheme == "https":
        try:
            tls_context(target)
        except ProbeError as error:
            raise ConfigurationError(
                error.detail, where=target.url, hint="correct the service in toombos.toml"
            ) from None


def tls_context(target: LoadTarget) -> ssl.SSLContext:
    """Return the TLS settings for the target. Raise ProbeError if a file cannot be used.

    Without `verify_tls` any certificate is accepted, unless the manifest names the authority.
    """
    context = new_context()
    trust(context, target.endpoint, is_local=not target.verify_tls)
    if target.endpoint.http2:
        context.set_alpn_protocols(["h2", "http/1.1"])
    return context
