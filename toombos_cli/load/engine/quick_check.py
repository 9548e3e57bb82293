"""Accepts responses that meet simple conditions, in a tenth of the time that the judge of the smoke test takes.

It only ever says yes, by the same conditions: what it does not accept, the judge looks at and explains.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from toombos_cli.base.untrusted import UntrustedError, decode_untrusted
from toombos_cli.load.script import Script
from toombos_cli.manifest.tables.conditions import Condition, read_condition
from toombos_cli.manifest.tables.expectations import Statuses, status_fits

Headers = tuple[tuple[str, str], ...]
JsonPath = tuple[str, ...]


@dataclass(slots=True)
class WholeResponse:
    """A response that is complete, and when it was; `events` counts those of a stream, and is None elsewhere."""

    status: int
    headers: Headers
    body: bytes
    ended_ns: int
    latency_ms: float
    truncated: bool = False
    events: int | None = None


Accept = Callable[[WholeResponse], Mapping[str, Any] | None]
"""Returns what a response gives to later steps, or None if it is for the judge."""
_SIMPLE = re.compile(r"[^.\[\]$]+(?:\.[^.\[\]$]+)*")
_PLAIN_TYPES = re.compile(r"[^;]*(?:;\s*charset\s*=\s*\"?utf-?8\"?\s*)?", re.IGNORECASE)
_NOTHING: Mapping[str, Any] = {}
_NO_HEADERS: Headers = ()
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x00")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimpleConditions:
    """The conditions that the quick check covers: each is a place in the response and a test of its value."""

    status: Statuses | None
    headers: tuple[tuple[str, Condition], ...] = ()
    text: Callable[[str], object] | None = None
    json: tuple[tuple[JsonPath, Callable[[Any], bool]], ...] = ()
    captures: tuple[tuple[str, JsonPath], ...] = ()

    def fit_head(self, status: int, found: Headers) -> bool:
        """Report whether the head of a response meets them, and the body is plain text or JSON in UTF-8."""
        if not (status < 400 if self.status is None else status_fits(self.status, status)):
            return False
        for name, value in found:
            if name == "content-encoding" or (name == "content-type" and not _PLAIN_TYPES.fullmatch(value)):
                return False
        return all(
            condition.holds(", ".join(value for key, value in found if key == name) or msgspec.UNSET)
            for name, condition in self.headers
        )


def quick_check(script: Script) -> Accept | None:
    """Return what accepts the responses to a request, or None if its conditions are not simple."""
    step = script.step
    if script.is_stream or script.conditions_vary:
        return None
    if step is None:
        return _accepting(SimpleConditions(status=script.status))
    captures = list(step.captures())
    places = [*step.json, *(place.json for _, place in captures if place.json is not None)]
    in_body = all(place.json is not None for _, place in captures)
    judged = step.response_cookies or step.metrics or step.latency_limit_ms is not None
    if judged or not in_body or not all(map(_SIMPLE.fullmatch, places)):
        return None
    return _accepting(
        SimpleConditions(
            status=script.status,
            headers=tuple((name.lower(), read_condition(demand)) for name, demand in step.response_headers.items()),
            text=re.compile(step.text).search if step.text is not None else None,
            json=tuple((_path(path), _test(read_condition(demand))) for path, demand in step.json.items()),
            captures=tuple((name, _path(place.json or "")) for name, place in captures),
        )
    )


def _accepting(conditions: SimpleConditions) -> Accept:
    tests, wanted, text = conditions.json, conditions.captures, conditions.text
    reads_json = bool(tests or wanted)
    known_status, known_headers = 0, _NO_HEADERS  # most responses have the same head as the one before

    def accept(response: WholeResponse) -> Mapping[str, Any] | None:
        nonlocal known_status, known_headers
        status, headers, body = response.status, response.headers, response.body
        if headers is not known_headers or status != known_status:
            if not conditions.fit_head(status, headers):
                return None
            known_status, known_headers = status, headers
        if response.truncated or body.startswith(_MARKS) or (text and not text(body.decode("utf-8", "replace"))):
            return None
        if not reads_json:
            return _NOTHING
        try:
            document = decode_untrusted(body, exact=True)
        except UntrustedError:
            return None
        for path, test in tests:
            if not test(_at(document, path)):
                return None
        if not wanted:
            return _NOTHING
        values = {name: _at(document, path) for name, path in wanted}
        return None if msgspec.UNSET in values.values() else values

    return accept


def _path(text: str) -> JsonPath:
    return tuple(text.split("."))


def _at(document: Any, path: JsonPath) -> Any:
    for name in path:
        if type(document) is not dict:
            return msgspec.UNSET
        document = document.get(name, msgspec.UNSET)
    return document


def _test(condition: Condition) -> Callable[[Any], bool]:
    """Return the test of a condition; that of equal texts needs no general comparison."""
    wanted = condition.equals
    if type(wanted) is str and condition == Condition(equals=wanted):
        return lambda value: type(value) is str and value == wanted
    return condition.holds
