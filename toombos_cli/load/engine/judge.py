"""Judges the responses of a scenario by the conditions of its requests, with the judge of the smoke test."""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from toombos_cli.load.engine.quick_check import Headers, WholeResponse
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

Verdict = tuple[tuple[Mismatch, ...], Mapping[str, Any]]
"""What is not as demanded, and what was captured."""
_MOST_BODY_BYTES = 16 * 1024 * 1024


class Judge:
    """The judge of one engine. `heads` are the known response heads; `think_s` is the pause after the last response."""

    def __init__(self, users: UserQueue) -> None:
        self._users = users
        self.heads: dict[bytes, tuple[int, int, Headers]] = {}
        self.think_s = 0.0

    def judge(self, turn: Turn, response: WholeResponse) -> bool:
        """Report whether the response is as the request demands, or a redirect that is followed.

        The user is moved to its next step, or to a new round if the response is not as demanded.
        """
        script, user, status = turn.script, turn.user, response.status
        self.think_s = 0.0
        if script.cookies:
            _keep_cookies(user.cookies, response.headers)
        if script.follow_redirects and 300 <= status < 400:
            location = next((value for name, value in response.headers if name == "location"), "")
            if location and self._users.follow(turn, status, location):
                turn.result.followed += 1
                return True
        captured = None if turn.accept is None else turn.accept(response)
        if captured is None:
            mismatches, captured = _verdict(script, user.values, response)
            if mismatches:
                for mismatch in mismatches:
                    self._note(turn, mismatch, response.ended_ns)
                self._users.begin_anew(user)
                return False
        self.think_s = self._users.advance(user, script, captured)
        return True

    def _note(self, turn: Turn, mismatch: Mismatch, now_ns: int) -> None:
        known = turn.result.unmet.get(mismatch.expected)
        if known is None:
            first_at_ns = now_ns - turn.recorder.origin_ns
            turn.result.unmet[mismatch.expected] = FailureCount(1, first_at_ns, mismatch.got)
        else:
            known.count += 1


def _verdict(script: Script, values: Mapping[str, Any], response: WholeResponse) -> Verdict:
    status, step = response.status, script.step
    if not (status < 400 if script.status is None else status_fits(script.status, status)):
        wanted = "below 400" if script.status is None else _status_words(script)
        return (Mismatch(f"HTTP {wanted}", f"HTTP {status}"),), {}
    captured: Mapping[str, Any] = {}
    mismatches: tuple[Mismatch, ...] = ()
    if script.events is not None and response.events is not None and response.events < script.events:
        mismatches = (Mismatch(f"{script.events} events", f"{response.events} events, then the end"),)
    if step is not None:
        unmet, captured = _judged(script, step, values, response)
        mismatches += unmet
        limit_ms = step.latency_limit_ms
        if limit_ms is not None and response.latency_ms > limit_ms:
            mismatches += (Mismatch(f"a response within {limit_ms:g} ms", f"{response.latency_ms:.0f} ms"),)
    return mismatches, captured


def _judged(script: Script, step: SmokeStep, values: Mapping[str, Any], response: WholeResponse) -> Verdict:
    if script.conditions_vary:
        try:
            step = fill(step, values)
        except (MissingVariableError, ValueError) as error:
            return (Mismatch("conditions whose variables have values", f"none for {error}"),), {}
    found = StepResponse(result=_result(response))
    mismatches = tuple(content_mismatches(step, found))
    if mismatches:
        return mismatches, {}
    return (), {name: found.find(place) for name, place in step.captures()}


def _result(response: WholeResponse) -> ProbeResult:
    body, reason, cause, detail = response.body, Reason.OK, None, ""
    coding = next((value for name, value in response.headers if name == "content-encoding"), "")
    if coding:
        try:
            coded = decoder(coding)
            body = coded.decode(body, _MOST_BODY_BYTES)
            coded.end()
        except CodingError as error:
            body, reason, cause, detail = b"", Reason.BODY, Cause.UNREADABLE, str(error)
    return ProbeResult(
        url="",
        reason=reason,
        cause=cause,
        detail=detail,
        http_status=response.status,
        headers=response.headers,
        body=body,
        truncated=response.truncated and cause is None,
    )


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
