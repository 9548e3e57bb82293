"""The dates of certificates: those that services serve, and those in the files that they are given."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import msgspec

from toombos_cli.diagnose.facts.source import Fact, Facts
from toombos_cli.diagnose.facts.system import SYSTEM
from toombos_cli.manifest.tables.service import Service

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_TIMEOUT_S = 1.5
_SUFFIXES = (".pem", ".crt", ".cer", ".cert")
_MOST_BYTES = 1 << 20


class CertificateFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate; `path` is its file, "" for the one that the service serves; times are since the epoch."""

    service: str
    subject: str
    serial: str
    begins_at: float
    ends_at: float
    path: str = ""


def _gather(facts: Facts) -> tuple[CertificateFacts, ...]:
    served: dict[str, CertificateFacts] = {}
    system = facts.get(SYSTEM).services

    def ask(service: Service) -> None:
        with suppress(OSError, ValueError):  # what a service does not say about its certificate, its probe reports
            served[service.name] = _served(service)

    services = facts.manifest.services.values()
    tls = [s for s in services if s.scheme == "https" and s.port and not s.unix and system[s.name].holder]
    threads = [Thread(target=ask, args=(service,), daemon=True) for service in tls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * _TIMEOUT_S)
    found = tuple(served[name] for name in sorted(served))
    return (*found, *(one for service in services for one in _on_disk(facts.manifest.project, service)))


def _served(service: Service) -> CertificateFacts:
    """Return the certificate that a service serves, without verifying it. Raise OSError or ValueError."""
    import ssl

    from cryptography.x509 import load_der_x509_certificate

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((service.host, service.port), _TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname=service.host) as secured,
    ):
        return _facts(service.name, load_der_x509_certificate(secured.getpeercert(binary_form=True) or b""))


def _on_disk(project: Path, service: Service) -> Iterator[CertificateFacts]:
    """Yield the first certificate of each file that the manifest, or the command of the service, names."""
    words = [word.rpartition("=")[2] for word in service.command if word.endswith(_SUFFIXES)]
    for name in dict.fromkeys(word for word in (service.ca_file, service.client_cert, *words) if word):
        path = next((p for p in (Path(service.cwd, name), project / name) if p.is_file()), None)
        if path is None or path.stat().st_size > _MOST_BYTES:
            continue
        from cryptography.x509 import load_pem_x509_certificate

        with suppress(OSError, ValueError):  # it may hold a key alone
            yield _facts(service.name, load_pem_x509_certificate(path.read_bytes()), str(path))


def _facts(service: str, certificate: "Certificate", path: str = "") -> CertificateFacts:
    return CertificateFacts(
        service=service,
        subject=certificate.subject.rfc4514_string(),
        serial=f"{certificate.serial_number:x}",
        begins_at=certificate.not_valid_before_utc.timestamp(),
        ends_at=certificate.not_valid_after_utc.timestamp(),
        path=path,
    )


CERTIFICATES: Fact[tuple[CertificateFacts, ...]] = Fact("certificates", tuple[CertificateFacts, ...], _gather)
