"""One step's requests, and what of their responses later steps use."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import msgspec

from toombos_cli.base.addresses import is_loopback
from toombos_cli.base.results import Verdict
from toombos_cli.base.time_limits import at_most
from toombos_cli.manifest.tables.expectations import status_fits
from toombos_cli.manifest.tables.service import Service
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.probes import Cause, ProbeResult, Reason, probe_http
from toombos_cli.probes.endpoint import endpoint_of
from toombos_cli.probes.steps.judge import Mismatch, judge_response, summary
from toombos_cli.probes.steps.response import StepResponse, found_in
from toombos_cli.probes.steps.variables import credentials, fill, fill_step
from toombos_cli.smoke.cleanup import Cleanups
from toombos_cli.smoke.conversation import converse, words_for
from toombos_cli.smoke.counters import CounterProof
from toombos_cli.smoke.egress import variables_sent
from toombos_cli.smoke.links import RedirectRule
from toombos_cli.smoke.report import StepResult
from toombos_cli.smoke.request import StepRequest, build_request
from toombos_cli.smoke.schema import Conformity, Contract, judge_schema
from toombos_cli.smoke.system import Known, TestedSystem

if TYPE_CHECKING:
    import httpx

_MAX_BODY_BYTES = 16 * 1024 * 1024
_JUDGE_S = 5.0
Attempt = tuple[StepResult, dict[str, Any]]
"""The result of one attempt, and what it captured."""


class Exchanges:
    """Sends the requests of a round's steps, and keeps the cookies and what was captured."""

    def __init__(
        self,
        system: TestedSystem,
        steps: tuple[SmokeStep, ...],
        *,
        contracts: dict[str, Contract],
        request_id: str,
        run_id: Mapping[str, str],
    ) -> None:
        self._system = system
        self._steps = steps
        self._contracts = contracts
        self._request_id = request_id
        self.known = Known(system, run_id)
        self._jar: httpx.Cookies | None = None
        self.fulfilled: set[str] = set()
        """The steps whose own demands were met, whatever the OpenAPI document demands besides."""

    def take(self, step: SmokeStep, cleanups: Cleanups | None) -> StepResult:
        """Return the result of a step, after as many attempts as it may have.

        Raises MissingVariableError, UnreadableCounterError, ValueError and TimeIsUpError.
        """
        if cleanups is not None:
            cleanups.before(step)
        attempt = self._attempt(step, cleanups)
        started, before, attempts = time.monotonic(), dict(self.known.captured), 0
        limit_s = step.until.timeout_s if step.until else step.timeout_s
        while True:
            attempts += 1
            spent_s = time.monotonic() - started if attempts > 1 else 0.0
            result, captured = attempt(round(min(step.timeout_s, max(limit_s - spent_s, 0.1)), 2))
            self.known.captured = before | captured
            left_s = limit_s - (time.monotonic() - started)
            if step.until is None or result.verdict is not Verdict.FAIL or left_s <= 0:
                break
            time.sleep(min(step.until.every_s, left_s))
        if attempts > 1:
            tried = f"{attempts} attempts in {time.monotonic() - started:.1f} s"
            result = replace(result, attempts=attempts, detail="; ".join(filter(None, (result.detail, tried))))
        return result

    def _attempt(self, step: SmokeStep, cleanups: Cleanups | None) -> Callable[[float], Attempt]:
        """Return the function that makes one attempt within so many seconds; each makes the same request."""
        filled = fill_step(step, self.known.values(step.service))
        if step.is_conversation:
            return lambda timeout_s: self._conversation(filled, timeout_s)
        filled, request = self._request(step, filled)
        proof = CounterProof(filled, self.known)
        return lambda timeout_s: self._exchange(filled, request, proof, cleanups, timeout_s)

    def _conversation(self, step: SmokeStep, timeout_s: float) -> Attempt:
        service = self._system.services[step.service]
        with at_most(timeout_s + _JUDGE_S):
            heard = converse(step, service, timeout_s=timeout_s)
            found = {name: found_in(heard.text, place.text or "") for name, place in step.captures()}
        wanted = step.expect if step.expect is not None else ", ".join(p.text or "" for _, p in step.captures())
        base = StepResult(
            name=step.name,
            service=step.service,
            verdict=Verdict.PASS,
            request=words_for(step, service),
            expected=f"{wanted!r} in what arrives" if wanted else "a connection that takes it",
            got=heard.shown,
        )
        if heard.nothing_listens and step.optional:
            return replace(base, verdict=Verdict.SKIP, detail="optional, and nothing listens"), {}
        absent = [name for name, value in found.items() if value is msgspec.UNSET]
        problem = heard.problem or ("; ".join(f"nothing for ${{{name}}}" for name in absent))
        if problem:
            got = f"{heard.shown}, {problem}" if not heard.nothing_listens else problem
            return replace(base, verdict=Verdict.FAIL, got=got), {}
        self.fulfilled.add(step.name)
        return base, found

    def _exchange(
        self,
        step: SmokeStep,
        request: StepRequest,
        proof: CounterProof,
        cleanups: Cleanups | None,
        timeout_s: float,
    ) -> Attempt:
        base = StepResult(name=step.name, service=step.service, verdict=Verdict.PASS, request=str(request))
        limit_s = timeout_s if step.silent_for_ms is None else step.silent_for_ms / 1000
        response = self._send(step, request, limit_s)
        if step.optional and response.result.reason is Reason.REFUSED:
            return replace(base, verdict=Verdict.SKIP, detail="optional, and nothing listens"), {}
        if step.silent_for_ms is not None:
            return _judged_silence(base, step.silent_for_ms, response.result), {}
        captured = self._captured(step, request, response, cleanups)
        if response.result.reason is Reason.ERROR:
            return replace(base, verdict=Verdict.ERROR, detail=response.result.detail), captured
        with at_most(_JUDGE_S):
            mismatches = judge_response(step, response)
        mismatches += proof.mismatches()
        if not mismatches:
            self.fulfilled.add(step.name)
        return _judged(base, step, response.result, mismatches, self._conformity(step, request, response)), captured

    def _conformity(self, step: SmokeStep, request: StepRequest, response: StepResponse) -> Conformity:
        """Return how the response relates to the OpenAPI document, unless it is another's or has another status."""
        is_its_own = response.result.url == request.url
        if not is_its_own or not status_fits(step.wanted_status, response.result.http_status or 0):
            return Conformity()
        contract = self._contract(step)
        return Conformity() if contract is None else judge_schema(step, response, contract)

    def _captured(
        self, step: SmokeStep, request: StepRequest, response: StepResponse, cleanups: Cleanups | None
    ) -> dict[str, Any]:
        """Return what the step captures, and plan its cleanup, even if the search for captures takes too long."""
        captured: dict[str, Any] = {}
        try:
            with at_most(_JUDGE_S):
                for name, place in step.captures():
                    value = response.find(place)
                    if value is not msgspec.UNSET:
                        captured[name] = value
                        self.known.capture(name, value, found_at=response.result.url)
        finally:
            if cleanups is not None:
                cleanups.add(step, request.headers, self._cookies(step))
        return captured

    def _request(self, step: SmokeStep, filled: SmokeStep) -> tuple[SmokeStep, StepRequest]:
        """Return the step with the path that is requested, and its request."""
        service = self._system.services[step.service]
        headers = self._system.headers(service, filled.headers)
        path = self.known.path(filled.path, service, headers=headers, user=step.service)
        filled = msgspec.structs.replace(filled, path=path, headers=headers)
        url = service.url + filled.path
        return filled, build_request(filled, url, project=self._system.project, request_id=self._request_id)

    def _send(self, step: SmokeStep, request: StepRequest, timeout_s: float) -> StepResponse:
        service, jar = self._system.services[step.service], self._cookies(step)
        before = _by_name(jar)
        rule = RedirectRule(
            self._system.services,
            sends_variables=bool(variables_sent(step, self._system.services, self._system.environment)[step.service]),
            allowed=self._system.allowed_targets,
        )
        result = probe_http(
            request.url,
            method=request.method,
            headers=request.headers,
            body=request.body,
            timeout_s=timeout_s,
            max_body_bytes=_MAX_BODY_BYTES,
            endpoint=endpoint_of(service),
            cookies=jar,
            may_follow=rule if step.follow_redirects else None,
        )
        new = {name: value for name, value in _by_name(jar).items() if before.get(name) != value}
        return StepResponse(result=result, new_cookies=new)

    def _cookies(self, step: SmokeStep) -> "httpx.Cookies | None":
        """Return the cookies of the round, or None for a step without cookies."""
        if step.cookies and self._jar is None:
            from toombos_cli.probes.lean_httpx import httpx

            self._jar = httpx.Cookies(CookieJar(_policy(self._system.services)))
        return self._jar if step.cookies else None

    def _contract(self, step: SmokeStep) -> Contract | None:
        service = self._system.services[step.service]
        if step.json_schema is False or service.openapi is None:
            return None
        if step.service not in self._contracts:
            environment = self._system.environment.get(step.service, {})
            keys = credentials(self._steps, step.service, environment)
            own = {name: fill(text, self.known.values(step.service)) for name, text in keys.items()}
            self._contracts[step.service] = Contract.fetch(
                service.url + service.openapi,
                headers=self._system.headers(service, own),
                timeout_s=step.timeout_s,
                endpoint=endpoint_of(service),
            )
        return self._contracts[step.service]


def _policy(services: Mapping[str, Service]) -> DefaultCookiePolicy:
    """Return a policy that sends Secure cookies without TLS too if nothing leaves this machine, as browsers do."""
    is_near = all(is_loopback(service.host) for service in services.values())
    return DefaultCookiePolicy(secure_protocols=("http", "https") if is_near else ("https",))


def _by_name(jar: "httpx.Cookies | None") -> dict[str, str]:
    return {} if jar is None else {cookie.name: cookie.value or "" for cookie in jar.jar}


def _judged(
    base: StepResult,
    step: SmokeStep,
    response: ProbeResult,
    mismatches: tuple[Mismatch, ...],
    conformity: Conformity,
) -> StepResult:
    if conformity.violation:
        mismatches += (Mismatch("a response that conforms to the OpenAPI schema", conformity.violation),)
    if mismatches:
        return replace(
            base,
            verdict=Verdict.FAIL,
            expected="; ".join(m.expected for m in mismatches),
            got="; ".join(m.got for m in mismatches),
        )
    doubt = conformity.doubt or (conformity.missing if step.json_schema else "")
    return replace(
        base,
        verdict=Verdict.WARN if doubt else Verdict.PASS,
        expected=summary(step),
        got=f"HTTP {response.http_status}",
        detail=doubt,
        note="" if step.json_schema else conformity.missing or _unread(response),
    )


def _unread(response: ProbeResult) -> str:
    """Return why the body could not be read, which no condition of a step that passes is about, or ""."""
    return response.detail if response.cause is Cause.UNREADABLE else ""


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
