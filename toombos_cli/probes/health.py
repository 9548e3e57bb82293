"""Probes the health of a service: by its health route, or, without HTTP, by a connection."""

from collections.abc import Mapping
from dataclasses import replace

from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes.answer import judge_health
from toombos_cli.probes.http import probe_http
from toombos_cli.probes.result import Cause, ProbeResult, Reason
from toombos_cli.probes.tcp import probe_tcp


def probe_health(
    service: Service,
    *,
    timeout_s: float | None = None,
    headers: Mapping[str, str] | None = None,
    max_body_bytes: int = 65536,
) -> ProbeResult:
    """Return the judged response, SLOW above the service's latency threshold. Default timeout: the service's own.

    Raise OperationError if this machine cannot probe.
    """
    timeout_s = timeout_s or service.probe_timeout_s
    if service.scheme == "tcp":
        result = probe_tcp(service.host, service.port, timeout_s=timeout_s)
        late_ms = result.latency_ms if result.reason is Reason.OK else None
        if late_ms is None or late_ms <= service.latency_warn_ms:
            return result
        detail = f"accepted after {late_ms:.0f} ms, more than {service.latency_warn_ms:.0f} ms"
        return replace(result, reason=Reason.SLOW, detail=detail)
    result = probe_http(
        service.url + service.health,
        headers=headers,
        timeout_s=timeout_s,
        slow_after_ms=service.latency_warn_ms,
        max_body_bytes=max_body_bytes,
    )
    judged = judge_health(result, expects=service.health_answer)
    if judged.cause is Cause.WEB_PAGE:
        remedy = f"if that is intended: health_answer = 'page' in [services.{service.name}]"
        return replace(judged, detail=f"{judged.detail}; {remedy}")
    return judged
