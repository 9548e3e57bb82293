"""Judges the responses of a scenario by the conditions of its requests, with the judge of the smoke test."""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from toombos_cli.load.engine.quick_check import Accept, quick_check
from toombos_cli.load.engine.recorder import FailureCount
from toombos_cli.load.engine.users import Turn, UserQueue
from toombos_cli.load.script import Script
from toombos_cli.manifest.tables.expectations import status_fits
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.probes.content_coding import CodingError, decoder
from toombos_cli.probes.result import Cause, ProbeResult, Reason
from toombos_cli.probes.steps.judge import Mismatch, content_mismatches
from toombos_cli.probes.steps.response import StepResponse
from toombos_cli.probes.steps.variables import MissingVariableError, fill

Headers = tuple[tuple[str, str], ...]
Verdict = tuple[tuple[Mismatch, ...], Mapping[str, Any]]
"""What is not as demanded, and what was captured."""
_MOST_BODY_BYTES = 16 * 1024 * 1024


class Judge:
    """The judge of one engine. `heads` are the known response heads; `think_s` is the pause after the last response."""

    def __init__(self, users: UserQueue) -> None:
        self._users = users
        self.heads: dict[bytes, tuple[int, int, Headers]] = {}
        self.think_s = 0.0
        self._accepts: dict[int, Accept | None] = {}

    def judge(
        self,
        turn: Turn,
        status: int,
        headers: Headers,
        body: bytes,
        now_ns: int,
        latency_ms: float,
        *,
        truncated: bool,
        events: int | None = None,
    ) -> bool | None:
        """Report whether the response is as the request demands; None if it is a redirect that is followed.

        The user is moved to its next step, or to a new round if the response is not as demanded.
        """
        script, user = turn.script, turn.user
        if script.cookies:
            _keep_cookies(user.cookies, headers)
        if script.follow_redirects and 300 <= status < 400:
            location = next((value for name, value in headers if name == "location"), "")
            if location and self._users.follow(turn, status, location):
                return None
        if not (status < 400 if script.status is None else status_fits(script.status, status)):
            wanted = "below 400" if script.status is None else _status_words(script)
            self._note(turn, Mismatch(f"HTTP {wanted}", f"HTTP {status}"), now_ns)
            self.think_s = 0.0
            self._users.begin_anew(user)
            return False
        captured: Mapping[str, Any] = {}
        mismatches: tuple[Mismatch, ...] = ()
        if script.events is not None and events is not None and events < script.events:
            mismatches = (Mismatch(f"{script.events} events", f"{events} events, then the end"),)
        if script.step is not None:
            unmet, captured = self._verdict(script, script.step, user.values, status, headers, body, truncated)
            mismatches += unmet
            limit_ms = script.step.latency_limit_ms
            if limit_ms is not None and latency_ms > limit_ms:
                mismatches += (Mismatch(f"a response within {limit_ms:g} ms", f"{latency_ms:.0f} ms"),)
        if mismatches:
            for mismatch in mismatches:
                self._note(turn, mismatch, now_ns)
            self.think_s = 0.0
            self._users.begin_anew(user)
            return False
        self.think_s = self._users.advance(user, script, captured)
        return True

    def _verdict(
        self,
        script: Script,
        step: SmokeStep,
        values: Mapping[str, Any],
        status: int,
        headers: Headers,
        body: bytes,
        truncated: bool,
    ) -> Verdict:
        if not script.conditions_vary and not truncated:
            if id(script) not in self._accepts:
                self._accepts[id(script)] = quick_check(step)
            accept = self._accepts[id(script)]
            if accept is not None and (captured := accept(headers, body)) is not None:
                return (), captured
        return _judged(script, step, values, status, headers, body, truncated)

    def _note(self, turn: Turn, mismatch: Mismatch, now_ns: int) -> None:
        known = turn.result.unmet.get(mismatch.expected)
        if known is None:
            first_at_ns = now_ns - turn.recorder.origin_ns
            turn.result.unmet[mismatch.expected] = FailureCount(1, first_at_ns, mismatch.got)
        else:
            known.count += 1


def _judged(
    script: Script,
    step: SmokeStep,
    values: Mapping[str, Any],
    status: int,
    headers: Headers,
    body: bytes,
    truncated: bool,
) -> Verdict:
    if script.conditions_vary:
        try:
            step = fill(step, values)
        except (MissingVariableError, ValueError) as error:
            return (Mismatch("conditions whose variables have values", f"none for {error}"),), {}
    result = _result(status, headers, body, truncated)
    response = StepResponse(result=result)
    mismatches = tuple(content_mismatches(step, response))
    if mismatches:
        return mismatches, {}
    return (), {name: response.find(place) for name, place in step.captures()}


def _result(status: int, headers: Headers, body: bytes, truncated: bool) -> ProbeResult:
    coding = next((value for name, value in headers if name == "content-encoding"), "")
    if not coding:
        return ProbeResult(
            url="", reason=Reason.OK, http_status=status, headers=headers, body=body, truncated=truncated
        )
    try:
        coded = decoder(coding)
        body = coded.decode(body, _MOST_BODY_BYTES)
        coded.end()
    except CodingError as error:
        return ProbeResult(
            url="", reason=Reason.BODY, cause=Cause.UNREADABLE, detail=str(error), http_status=status, headers=headers
        )
    return ProbeResult(url="", reason=Reason.OK, http_status=status, headers=headers, body=body, truncated=truncated)


def _status_words(script: Script) -> str:
    return " or ".join(map(str, script.status)) if isinstance(script.status, tuple) else str(script.status)


_MAX_AGE = re.compile(r";\s*max-age\s*=\s*\"?(-?\d+)", re.IGNORECASE)
_EXPIRES = re.compile(r";\s*expires\s*=\s*([^;]+)", re.IGNORECASE)


def _keep_cookies(jar: dict[str, str], headers: Headers) -> None:
    """Keep the cookies that a response sets; there is one target, so that all of them are its own."""
    for name, value in headers:
        if name == "set-cookie":
            key, _, content = value.partition(";")[0].partition("=")
            if _is_over(value):
                jar.pop(key.strip(), None)
            else:
                jar[key.strip()] = content.strip()


def _is_over(cookie: str) -> bool:
    """Report whether a cookie is to be forgotten: its age comes before its date (RFC 6265, 5.3)."""
    if age := _MAX_AGE.search(cookie):
        return int(age[1]) <= 0
    if (date := _EXPIRES.search(cookie)) is None:
        return False
    try:
        return parsedate_to_datetime(date[1]).timestamp() <= time.time()
    except ValueError:
        return False
