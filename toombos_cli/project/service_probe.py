"""Probes a service by its response, or, if it has no port, by whether its process runs."""

from collections.abc import Mapping

from toombos_cli import processes
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes import ProbeResult, Reason, probe_health
from toombos_cli.project.state import SystemState


def probe_service(
    service: Service,
    state: SystemState | None,
    *,
    timeout_s: float | None = None,
    headers: Mapping[str, str] | None = None,
    max_body_bytes: int = 65536,
) -> ProbeResult:
    """Return the result of `probe_health`; REFUSED for a service without a port whose process does not run.

    Raises OperationError if this machine cannot probe.
    """
    if service.port:
        return probe_health(service, timeout_s=timeout_s, headers=headers, max_body_bytes=max_body_bytes)
    entry = state.services.get(service.name) if state else None
    if state and entry and entry.pid and processes.is_alive(state.identity_of(entry)):
        return ProbeResult(url="", reason=Reason.OK)
    return ProbeResult(url="", reason=Reason.REFUSED, detail="its process is not running")
