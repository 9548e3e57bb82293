"""Every service's responses for health, readiness, metrics and its OpenAPI document; all services at the same time."""

from collections.abc import Mapping
from threading import Thread
from time import monotonic
from typing import Any

import msgspec

from toombos_cli.base.errors import ToombosError, type_and_place
from toombos_cli.base.plain_files import MOST_BYTES
from toombos_cli.base.text import one_line
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted
from toombos_cli.diagnose.facts.configuration import SETTINGS
from toombos_cli.diagnose.facts.source import FACT_LIMIT_S, Fact, Facts, FactUnavailableError
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes import Cause, ProbeResult, Reason, probe_health, probe_http
from toombos_cli.project.own_requests import OwnRequests

_LIMIT_S = FACT_LIMIT_S - 0.3
_KEPT_TEXT = 256 * 1024
_KEPT_BODY = 4096


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one probe. `latency_ms` is None if there was no response."""

    url: str
    reason: Reason
    cause: Cause | None = None
    detail: str = ""
    http_status: int | None = None
    latency_ms: float | None = None
    body: str = ""

    @property
    def ok(self) -> bool:
        """Whether the response was good, even if late."""
        return self.reason in (Reason.OK, Reason.SLOW)


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of an OpenAPI document; `method` is in upper case."""

    method: str
    path: str
    secured: bool
    described: bool
    """Whether its successful response has a schema that is not empty."""


class ServiceProbes(msgspec.Struct, frozen=True, kw_only=True):
    """One service's responses; None if it does not offer the route, or its health probe got no response."""

    health: Probe
    ready: Probe | None = None
    metrics: Probe | None = None
    openapi: Probe | None = None
    operations: tuple[Operation, ...] = ()


def _gather(facts: Facts) -> dict[str, ServiceProbes]:
    found: dict[str, ServiceProbes] = {}
    services = tuple(facts.manifest.services.values())

    own = OwnRequests.of(facts.manifest.project)
    keys = _keys(facts)

    def ask(service: Service) -> None:
        headers = {"X-Request-ID": own.new_id(f"diagnose-{service.name}")}
        try:
            found[service.name] = _ask(service, monotonic() + _LIMIT_S, headers, keys.get(service.name, ""))
        except Exception as error:  # a bug that one service's response reveals must not affect the others
            detail = f"it could not be asked: {type_and_place(error)}"
            found[service.name] = ServiceProbes(health=Probe(url=service.url, reason=Reason.ERROR, detail=detail))

    threads = [Thread(target=ask, args=(service,), daemon=True) for service in services]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {service.name: found[service.name] for service in services}


def _keys(facts: Facts) -> dict[str, str]:
    """Return the access key of each service that has one: its OpenAPI document may need it."""
    try:
        settings = facts.get(SETTINGS)
    except FactUnavailableError:
        return {}
    keys = settings.with_role("access_key")
    return {
        used: settings.service_clear(used).values.get(name, "")
        for name, found in keys.items()
        for used in found.used_by
    }


def _ask(service: Service, until: float, headers: Mapping[str, str], key: str) -> ServiceProbes:
    if not service.port:  # the process table says all there is to know about it
        return ServiceProbes(health=Probe(url="", reason=Reason.OK, detail="it has no port"))
    health = _health(service, until, headers)
    if health.http_status is None:
        return ServiceProbes(health=health)
    with_key = {**headers, "X-API-Key": key} if key else headers
    openapi, operations = _interface(service, until, with_key)
    return ServiceProbes(
        health=health,
        ready=_probe(service, service.ready, until, headers) if service.ready else None,
        metrics=_probe(service, service.metrics, until, headers, keep=_KEPT_TEXT) if service.metrics else None,
        openapi=openapi,
        operations=operations,
    )


def _interface(
    service: Service, until: float, headers: Mapping[str, str]
) -> tuple[Probe | None, tuple[Operation, ...]]:
    """Return the response of the OpenAPI route without its body, and the operations in it."""
    if not service.openapi:
        return None, ()
    probe = _probe(service, service.openapi, until, headers, keep=MOST_BYTES)
    found = msgspec.structs.replace(probe, body="")
    if not probe.ok:
        return found, ()
    try:
        return found, _operations(probe.body)
    except UntrustedError as error:
        unreadable = {"reason": Reason.BODY, "cause": Cause.UNREADABLE, "detail": one_line(str(error))}
        return msgspec.structs.replace(found, **unreadable), ()


def _health(service: Service, until: float, headers: Mapping[str, str]) -> Probe:
    try:
        result = probe_health(
            service,
            headers=headers,
            timeout_s=max(0.05, until - monotonic()),
            max_body_bytes=_KEPT_BODY,
        )
    except (ToombosError, ValueError) as error:
        return Probe(url=service.url + service.health, reason=Reason.ERROR, detail=str(error))
    return as_probe(result)


def _probe(service: Service, path: str, until: float, headers: Mapping[str, str], *, keep: int = _KEPT_BODY) -> Probe:
    url = service.url + path
    try:
        result = probe_http(
            url,
            headers=headers,
            timeout_s=max(0.05, until - monotonic()),
            max_body_bytes=keep,
        )
    except (ToombosError, ValueError) as error:
        return Probe(url=url, reason=Reason.ERROR, detail=str(error))
    return as_probe(result)


def as_probe(result: ProbeResult) -> Probe:
    """Return the result in the form that a bundle stores."""
    return Probe(
        url=result.url,
        reason=result.reason,
        cause=result.cause,
        detail=result.detail,
        http_status=result.http_status,
        latency_ms=None if result.latency_ms is None else round(result.latency_ms, 1),
        body=result.body.decode("utf-8", "replace"),
    )


def _operations(text: str) -> tuple[Operation, ...]:
    """Return the operations of an OpenAPI document, () of any other JSON object. Raise UntrustedError.

    A path that does not begin with / is left out: after the address, it would be part of the host.
    """
    document = decode_untrusted(text)
    if isinstance(document, dict) and "paths" not in document:
        return ()
    try:
        everywhere = bool(document.get("security"))
        return tuple(
            Operation(
                method=method.upper(),
                path=path,
                secured=bool(operation.get("security", everywhere)),
                described=_is_described(operation),
            )
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if method in ("get", "put", "post", "delete", "patch") and path.startswith("/")
        )
    except (KeyError, AttributeError, TypeError):
        raise UntrustedError("it is not an OpenAPI document") from None


def _is_described(operation: dict[str, Any]) -> bool:
    """Report whether each 2xx response with a JSON body has a schema; responses of other types need none."""
    for status, response in operation.get("responses", {}).items():
        content = response.get("content", {}).get("application/json") if str(status).startswith("2") else None
        if content is not None and not content.get("schema"):
            return False
    return True


PROBES: Fact[dict[str, ServiceProbes]] = Fact("probes", dict[str, ServiceProbes], _gather)
