"""Every service's responses for health, readiness, metrics and its OpenAPI document; all services at the same time."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from threading import Thread
from time import monotonic, time
from typing import Any

import msgspec

from toombos_cli.base.errors import ToombosError, type_and_place
from toombos_cli.base.fixes import here
from toombos_cli.base.plain_files import MOST_BYTES
from toombos_cli.base.text import one_line
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted
from toombos_cli.diagnose.facts.configuration import SETTINGS
from toombos_cli.diagnose.facts.source import FACT_LIMIT_S, Fact, Facts, FactUnavailableError
from toombos_cli.manifest.tables.expectations import ProbeSetting
from toombos_cli.manifest.tables.service import Question, Service
from toombos_cli.probes import Cause, ProbeResult, Reason, probe_health, probe_http
from toombos_cli.probes.endpoint import endpoint_of
from toombos_cli.probes.health import NOTHING, service_headers
from toombos_cli.project.own_processes import last_state
from toombos_cli.project.own_requests import OwnRequests
from toombos_cli.project.port_owner import distrusted
from toombos_cli.project.service_probe import settings_of, why_not_known
from toombos_cli.project.state import Phase, ServiceState

_LIMIT_S = FACT_LIMIT_S - 0.3
_SHORTEST_S = 0.5
"""A service that does not respond within less time than this is not judged by it."""
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
    ahead_s: float | None = None
    """How far its `Date` is ahead of this machine's clock; None if it has none, or one of a cache."""

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
    until = monotonic() + _LIMIT_S * facts.slowness
    from toombos_cli.probes import transport  # noqa: F401  (its import is part of the time)

    found: dict[str, ServiceProbes] = {}
    services = tuple(facts.manifest.services.values())
    own = OwnRequests.of(facts.manifest.project)
    keys, settings = _keys(facts), _settings(facts)
    state = last_state(facts.manifest.project, facts.manifest.services)

    def ask(service: Service) -> None:
        headers = {"X-Request-ID": own.new_id(f"diagnose-{service.name}")}
        asker = _Asker(service, settings.get(service.name, NOTHING), until, headers)
        try:
            seen = state.services.get(service.name) if state else None
            found[service.name] = asker.ask(keys.get(service.name, ""), seen)
        except Exception as error:  # a bug that one service's response reveals must not affect the others
            detail = f"it could not be asked: {type_and_place(error)}"
            found[service.name] = ServiceProbes(health=Probe(url=service.place, reason=Reason.ERROR, detail=detail))

    threads = [Thread(target=ask, args=(service,), daemon=True) for service in services]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {service.name: found[service.name] for service in services}


def _keys(facts: Facts) -> dict[str, str]:
    """Return the access key of each service that has one: its OpenAPI document may need it. None goes to a place."""
    if facts.manifest.place is not None:
        return {}
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


def _settings(facts: Facts) -> dict[str, ProbeSetting]:
    """Return what the probes need; nothing for a service whose listener is not trusted, or if it cannot be read."""
    services = facts.manifest.services
    try:
        settings = settings_of(facts.manifest, services)
    except ToombosError:
        return {}
    using = {name: services[name] for name in settings}
    taken = distrusted(facts.manifest.project, using) if using else {}
    return {name: setting for name, setting in settings.items() if name not in taken}


class _Asker:
    """Asks one service, until a moment of the monotonic clock."""

    def __init__(self, service: Service, setting: ProbeSetting, until: float, headers: Mapping[str, str]) -> None:
        self._service = service
        self._setting = setting
        self._until = until
        self._headers = headers

    def ask(self, key: str, seen: ServiceState | None) -> ServiceProbes:
        """Return the responses; `seen` is what the supervisor knows, which speaks for a command: none is run here."""
        service = self._service
        if (why_not := why_not_known(service)) is not None:
            return ServiceProbes(health=Probe(url=service.url, reason=Reason.NOT_KNOWN, detail=why_not))
        if service.expectation("health").command:
            return ServiceProbes(health=_as_supervised(service, seen))
        if not service.listens:  # the process table says all there is to know about it
            return ServiceProbes(health=Probe(url="", reason=Reason.OK, detail="it has no port"))
        health = self._judged("health")
        if health.http_status is None:
            return ServiceProbes(health=health)
        openapi, operations = self._interface({"X-API-Key": key} if key else {})
        return ServiceProbes(
            health=health,
            ready=self._judged("ready") if service.ready_path else None,
            metrics=self._probe(service.metrics, keep=_KEPT_TEXT) if service.metrics else None,
            openapi=openapi,
            operations=operations,
        )

    def _interface(self, headers: Mapping[str, str]) -> tuple[Probe | None, tuple[Operation, ...]]:
        """Return the response of the OpenAPI route without its body, and the operations in it."""
        if not self._service.openapi:
            return None, ()
        probe = self._probe(self._service.openapi, headers, keep=MOST_BYTES)
        found = msgspec.structs.replace(probe, body="")
        if not probe.ok:
            return found, ()
        try:
            return found, _operations(probe.body)
        except UntrustedError as error:
            unreadable = {"reason": Reason.BODY, "cause": Cause.UNREADABLE, "detail": one_line(str(error))}
            return msgspec.structs.replace(found, **unreadable), ()

    def _judged(self, question: Question) -> Probe:
        service, left_s = self._service, self._left_s()
        try:
            result = probe_health(
                service, question=question, setting=self._setting, headers=self._headers, timeout_s=left_s
            )
        except (ToombosError, ValueError) as error:
            url = service.place + service.expectation(question).path
            return Probe(url=url, reason=Reason.ERROR, detail=str(error))
        return _judgeable(as_probe(result, keep=_KEPT_TEXT if question == "ready" else _KEPT_BODY), left_s)

    def _probe(self, path: str, headers: Mapping[str, str] | None = None, *, keep: int) -> Probe:
        url, left_s = self._service.url + path, self._left_s()
        try:
            result = probe_http(
                url,
                headers={**service_headers(self._service, self._setting), **self._headers, **(headers or {})},
                timeout_s=left_s,
                max_body_bytes=keep,
                endpoint=endpoint_of(self._service),
            )
        except (ToombosError, ValueError) as error:
            return Probe(url=url, reason=Reason.ERROR, detail=str(error))
        return _judgeable(as_probe(result, keep=keep), left_s)

    def _left_s(self) -> float:
        return max(0.05, self._until - monotonic())


def _judgeable(probe: Probe, allowed_s: float) -> Probe:
    """Return the probe; if it was allowed too little time for a response, as one that could not be made."""
    if probe.reason is not Reason.TIMEOUT or allowed_s >= _SHORTEST_S:
        return probe
    return msgspec.structs.replace(probe, reason=Reason.ERROR, detail=f"not enough time was left: {probe.detail}")


def _as_supervised(service: Service, seen: ServiceState | None) -> Probe:
    """Return what the supervisor last heard from the health command: to diagnose is to look, and runs nothing."""
    how = here("health", service.name)
    if seen is not None and seen.phase is Phase.UNHEALTHY:
        return Probe(url=service.place, reason=Reason.COMMAND, detail=seen.detail)
    return Probe(url=service.place, reason=Reason.OK, detail=f"not asked: {how}")


def as_probe(result: ProbeResult, *, keep: int = _KEPT_BODY) -> Probe:
    """Return the result in the form that a bundle stores, with at most so many bytes of the body."""
    return Probe(
        url=result.url,
        reason=result.reason,
        cause=result.cause,
        detail=result.detail,
        http_status=result.http_status,
        latency_ms=None if result.latency_ms is None else round(result.latency_ms, 1),
        body=result.body[:keep].decode("utf-8", "replace"),
        ahead_s=_ahead_s(dict(result.headers)),
    )


def _ahead_s(headers: Mapping[str, str]) -> float | None:
    """Return how far the `Date` of a response that has just arrived is ahead of this machine's clock, or None."""
    if "date" not in headers or "age" in headers:
        return None
    try:
        return round(parsedate_to_datetime(headers["date"]).timestamp() - time())
    except ValueError:
        return None


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


PROBES: Fact[dict[str, ServiceProbes]] = Fact("probes", dict[str, ServiceProbes], _gather, from_afar=True)
