"""One round of the smoke test: the health of the services, the proof of dry-run mode, then the steps in order."""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from toombos_cli.base.errors import RefusedError
from toombos_cli.base.fixes import toombos
from toombos_cli.base.results import Verdict
from toombos_cli.manifest.tables.conditions import value_at
from toombos_cli.manifest.tables.service import Service
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.probes import ProbeResult, Reason, health_verdict, probe_http
from toombos_cli.project.own_requests import OwnRequests
from toombos_cli.project.port_owner import strangers
from toombos_cli.project.service_probe import probe_service
from toombos_cli.smoke.cleanup import Cleanups
from toombos_cli.smoke.counters import CounterProof, UnreadableCounterError
from toombos_cli.smoke.judge import Mismatch, ResponseVerdict, judge_answer, summary
from toombos_cli.smoke.plan import HEALTH, SmokePlan
from toombos_cli.smoke.report import StepResult
from toombos_cli.smoke.schema import Contract
from toombos_cli.smoke.sockets import SocketWatch
from toombos_cli.smoke.variables import ENVIRONMENT, RUN_ID, MissingVariableError, credentials, fill, fill_path

_MAX_BODY_BYTES = 16 * 1024 * 1024
_SHOWN_BODY_CHARS = 200

Notify = Callable[[StepResult], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedSystem:
    """The system under test: the services of a project, and the variables of each service."""

    project: Path
    services: Mapping[str, Service]
    environment: Mapping[str, Mapping[str, str]]
    has_dry_run: bool
    """Whether the manifest describes the mode dry_run."""


def _how_to_go_on(system: TestedSystem) -> str:
    live = toombos(system.project, "smoke", "--allow-live")
    if not system.has_dry_run:
        return f"{live}   (runs the read-only steps)"
    stop, start = toombos(system.project, "stop"), toombos(system.project, "start", "--dry-run")
    return f"{stop} && {start}   (or: {live}, for the read-only steps)"


class Round:
    """The state of one round. A step that cannot run is skipped with a reason; no request is sent twice."""

    def __init__(
        self,
        system: TestedSystem,
        plan: SmokePlan,
        *,
        sockets: SocketWatch,
        contracts: dict[str, Contract],
        notify: Notify,
    ) -> None:
        self._system = system
        self._plan = plan
        self._sockets = sockets
        self._contracts = contracts
        self._notify = notify
        self._unhealthy: set[str] = set()
        self._proven: set[str] = set()
        self._values: dict[str, Any] = {RUN_ID: secrets.token_hex(6)}
        self._request_id = OwnRequests.of(system.project).new_id("smoke")
        self._results: list[StepResult] = []

    @property
    def proven(self) -> frozenset[str]:
        """The services that have said that they are in dry-run mode."""
        return frozenset(self._proven)

    def run(self, *, allow_live: bool) -> tuple[tuple[StepResult, ...], tuple[str, ...]]:
        """Return the results in order, and what was left behind. Raises RefusedError for a system that is live."""
        services = {name: self._system.services[name] for name in self._plan.services}
        taken = strangers(self._system.project, services)
        for name, service in services.items():
            self._done(self._no_request_to(service, taken[name]) if name in taken else self._check_health(service))
        for step in self._plan.proofs:
            self._done(self._prove(step, allow_live=allow_live))
        healthy = tuple(step for step in self._plan.steps if step.service not in self._unhealthy)
        cleanups = Cleanups(healthy, self._system.services)  # sends requests, which an unhealthy service would delay
        try:
            for step in self._plan.steps:
                self._done(self._take(step, cleanups))
        finally:
            left_behind = cleanups.run()
        return tuple(self._results), left_behind

    def _prove(self, step: SmokeStep, *, allow_live: bool) -> StepResult:
        """Check that the service says that it is in dry-run mode. A service that responds otherwise counts as live."""
        result = self._take(step)
        if result.verdict is Verdict.PASS:
            self._proven.add(step.service)
        elif result.got and allow_live:
            return replace(result, verdict=Verdict.WARN, detail="not in dry-run mode: only read-only steps are run")
        elif result.got and any(s.is_writing for s in self._plan.steps):
            raise RefusedError(
                f"{step.service} does not say that it is in dry-run mode: expected {result.expected}, "
                f"got {result.got}; nothing was sent to it",
                where=result.request,
                hint=_how_to_go_on(self._system),
            )
        return result

    def _done(self, result: StepResult) -> None:
        self._results.append(result)
        self._notify(result)

    def _no_request_to(self, service: Service, complaint: str) -> StepResult:
        """Return a failure, and skip the steps: they might send a key to the stranger."""
        self._unhealthy.add(service.name)
        return StepResult(
            name=HEALTH + service.name,
            service=service.name,
            verdict=Verdict.FAIL,
            expected="healthy",
            got=f"{Reason.WRONG_OWNER}: {complaint}",
        )

    def _check_health(self, service: Service) -> StepResult:
        result = probe_service(service, self._system.project)
        verdict = health_verdict(result.reason, result.cause)
        if service.optional and result.reason is Reason.REFUSED:
            verdict = Verdict.SKIP
        if verdict not in (Verdict.PASS, Verdict.WARN):
            self._unhealthy.add(service.name)
        wrong = verdict in (Verdict.FAIL, Verdict.ERROR)
        return StepResult(
            name=HEALTH + service.name,
            service=service.name,
            verdict=verdict,
            duration_ms=round(result.latency_ms or 0.0, 3),
            request=_health_request(service),
            expected="healthy" if wrong else "",
            got=f"{result.reason}: {result.detail}" if wrong else "",
            detail="optional, and not started" if verdict is Verdict.SKIP else "" if wrong else result.detail,
        )

    def _take(self, step: SmokeStep, cleanups: Cleanups | None = None) -> StepResult:
        """Run one step and return its result; every expected error becomes a result."""
        why_not = self._obstacle(step)
        if why_not:
            return StepResult(name=step.name, service=step.service, verdict=Verdict.SKIP, detail=why_not)
        started = time.monotonic()
        try:
            result = self._isolation(step) if step.loopback_only else self._exchange(step, cleanups)
        except MissingVariableError as missing:
            detail = f"needs ${{{missing.name}}}, which no step has captured"
            return StepResult(name=step.name, service=step.service, verdict=Verdict.SKIP, detail=detail)
        except (UnreadableCounterError, ValueError) as error:
            result = StepResult(name=step.name, service=step.service, verdict=Verdict.ERROR, detail=str(error))
        return replace(result, duration_ms=round((time.monotonic() - started) * 1000, 3))

    def _obstacle(self, step: SmokeStep) -> str:
        """Return why the step is skipped, or "" if it is not."""
        environment = self._system.environment.get(step.service, {})
        if step.if_set and not environment.get(step.if_set):
            return f"applies only if {step.if_set} is set"
        if step.if_unset and environment.get(step.if_unset):
            return f"applies only if {step.if_unset} is not set"
        needed = dict.fromkeys((step.service, *(counter.service for counter in step.counters)))
        unhealthy = [name for name in needed if name in self._unhealthy]
        if unhealthy:
            return f"{' and '.join(unhealthy)} {'is' if len(unhealthy) == 1 else 'are'} not healthy"
        if step.is_writing and step.service not in self._proven:
            if not any(proof.service == step.service for proof in self._plan.proofs):
                return f"writes, and no step with proves_dry_run checks {step.service} (or: writes = false)"
            return f"writes, and {step.service} has not said that it is in dry-run mode"
        return ""

    def _isolation(self, step: SmokeStep) -> StepResult:
        outside, unseen = self._sockets.outside(step.service), self._sockets.unseen(step.service)
        base = StepResult(
            name=step.name, service=step.service, verdict=Verdict.PASS, request=f"sockets of {step.service}"
        )
        if unseen:
            return replace(
                base, verdict=Verdict.ERROR, detail=f"the sockets of {step.service} cannot be seen: {unseen}"
            )
        expected = "no socket beyond this machine"
        if outside:
            return replace(base, verdict=Verdict.FAIL, expected=expected, got=", ".join(outside))
        return replace(base, expected=expected)

    def _exchange(self, step: SmokeStep, cleanups: Cleanups | None) -> StepResult:
        values = self._values | self._environment_of(step.service)
        filled = _filled(step, values)
        # The request id marks these requests in the services' logs, so that `diagnose` ignores simulated faults.
        headers = {"X-Request-ID": self._request_id} | {name: value for name, value in filled.headers.items() if value}
        body = b"" if filled.body is None else json.dumps(filled.body).encode()
        if body:
            headers = {"Content-Type": "application/json"} | headers
        url = self._system.services[step.service].url + filled.path
        request = f"{step.method} {url}" + (f" {_short(body)}" if body else "")
        base = StepResult(name=step.name, service=step.service, verdict=Verdict.PASS, request=request)
        proof = CounterProof(step, self._system.services)
        limit_s = step.timeout_s if step.silent_for_ms is None else step.silent_for_ms / 1000
        response = probe_http(
            url, method=step.method, headers=headers, body=body, timeout_s=limit_s, max_body_bytes=_MAX_BODY_BYTES
        )
        if step.optional and response.reason is Reason.REFUSED:
            return replace(base, verdict=Verdict.SKIP, detail="optional, and nothing listens")
        if step.silent_for_ms is not None:
            return _judged_silence(base, step.silent_for_ms, response)
        judgement = judge_answer(filled, response, self._contract(step))
        self._capture(step, judgement)
        if cleanups is not None:
            cleanups.add(step, values | self._values, headers)
        return _judged(base, filled, response, judgement, proof.mismatches())

    def _environment_of(self, service: str) -> dict[str, str]:
        return {ENVIRONMENT + name: value for name, value in self._system.environment.get(service, {}).items()}

    def _capture(self, step: SmokeStep, judgement: ResponseVerdict) -> None:
        if judgement.body is msgspec.UNSET:
            return
        for name, path in step.capture.items():
            value = value_at(judgement.body, path)
            if value is not msgspec.UNSET:
                self._values[name] = value

    def _contract(self, step: SmokeStep) -> Contract | None:
        service = self._system.services[step.service]
        if not step.json_schema or service.openapi is None:
            return None
        if step.service not in self._contracts:
            keys = credentials(self._plan.steps, step.service, self._system.environment.get(step.service, {}))
            headers = {name: fill(text, self._environment_of(step.service)) for name, text in keys.items()}
            self._contracts[step.service] = Contract.fetch(
                service.url + service.openapi, headers=headers, timeout_s=step.timeout_s
            )
        return self._contracts[step.service]


def _filled(step: SmokeStep, values: Mapping[str, Any]) -> SmokeStep:
    return msgspec.structs.replace(
        step,
        path=fill_path(step.path, values),
        headers={name: str(value) for name, value in fill(step.headers, values).items()},
        body=fill(step.body, values),
        json=fill(step.json, values),
        metrics=fill(step.metrics, values),
    )


def _judged(
    base: StepResult, step: SmokeStep, response: ProbeResult, judgement: ResponseVerdict, counted: tuple[Mismatch, ...]
) -> StepResult:
    mismatches = (*judgement.mismatches, *counted)
    if mismatches:
        return replace(
            base,
            verdict=Verdict.FAIL,
            expected="; ".join(m.expected for m in mismatches),
            got="; ".join(m.got for m in mismatches),
        )
    return replace(
        base,
        verdict=Verdict.WARN if judgement.doubts else Verdict.PASS,
        expected=summary(step),
        got=f"HTTP {response.http_status}",
        detail="; ".join(judgement.doubts),
    )


def _judged_silence(base: StepResult, silent_for_ms: float, response: ProbeResult) -> StepResult:
    expected = f"no response within {silent_for_ms:g} ms"
    if response.reason is Reason.TIMEOUT:
        return replace(base, expected=expected, got="none")
    got = (
        f"HTTP {response.http_status} after {response.latency_ms or 0:.0f} ms"
        if response.http_status
        else response.detail
    )
    return replace(base, verdict=Verdict.FAIL, expected=expected, got=got)


def _health_request(service: Service) -> str:
    if not service.port:
        return "look for its process"
    return f"connect {service.url}" if service.scheme == "tcp" else f"GET {service.url}{service.health}"


def _short(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    return text if len(text) <= _SHOWN_BODY_CHARS else text[: _SHOWN_BODY_CHARS - 1] + "…"
