"""Probes a service by its response, or, if it has no port, by whether its process runs."""

from collections.abc import Mapping
from pathlib import Path

from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes import ProbeResult, Reason, probe_health
from toombos_cli.project.own_processes import leaders
from toombos_cli.project.state import read_state, unreadable_state


def probe_service(
    service: Service,
    project: Path,
    *,
    timeout_s: float | None = None,
    headers: Mapping[str, str] | None = None,
    max_body_bytes: int = 65536,
) -> ProbeResult:
    """Return the result of `probe_health`; REFUSED for a service without a port whose process does not run.

    ERROR if this user may not see whether it runs. Raises OperationError if this machine cannot probe.
    """
    if service.port:
        return probe_health(service, timeout_s=timeout_s, headers=headers, max_body_bytes=max_body_bytes)
    if service.name in leaders(project, read_state(project)):
        return ProbeResult(url="", reason=Reason.OK)
    unreadable = unreadable_state(project)
    if unreadable is not None:
        return ProbeResult(url="", reason=Reason.ERROR, detail=f"{unreadable}: Permission denied")
    return ProbeResult(url="", reason=Reason.REFUSED, detail="its process is not running")
