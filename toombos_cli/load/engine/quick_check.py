"""Accepts responses that meet simple conditions, in a tenth of the time that the judge of the smoke test takes.

It only ever says yes, by the same conditions: what it does not accept, the judge looks at and explains.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from toombos_cli.base.untrusted import UntrustedError, decode_untrusted
from toombos_cli.manifest.tables.conditions import Condition, read_condition
from toombos_cli.manifest.tables.smoke import SmokeStep

Headers = tuple[tuple[str, str], ...]
Accept = Callable[[Headers, bytes], Mapping[str, Any] | None]
"""Returns what a response gives to later steps, or None if it is for the judge."""
_SIMPLE = re.compile(r"[^.\[\]$]+(?:\.[^.\[\]$]+)*")
_PLAIN_TYPES = re.compile(r"[^;]*(?:;\s*charset\s*=\s*\"?utf-?8\"?\s*)?", re.IGNORECASE)
_NOTHING: Mapping[str, Any] = {}
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x00")


def quick_check(step: SmokeStep) -> Accept | None:
    """Return what accepts the responses of a step, or None if its conditions are not simple."""
    captures = list(step.captures())
    places = [*step.json, *(place.json for _, place in captures if place.json is not None)]
    in_body = all(place.json is not None for _, place in captures)
    if not in_body or step.response_cookies or step.metrics or not all(map(_SIMPLE.fullmatch, places)):
        return None
    tests = [(tuple(path.split(".")), _test(read_condition(demand))) for path, demand in step.json.items()]
    wanted = [(name, tuple((place.json or "").split("."))) for name, place in captures]
    headers = [(name.lower(), read_condition(demand)) for name, demand in step.response_headers.items()]
    text = re.compile(step.text).search if step.text is not None else None
    reads_json = bool(tests or wanted)
    accepted: list[Headers | None] = [None]  # most responses have the same head as the one before

    def accept_head(found: Headers) -> bool:
        for name, value in found:
            if name == "content-encoding" or (name == "content-type" and not _PLAIN_TYPES.fullmatch(value)):
                return False
        for name, condition in headers:
            if not condition.holds(", ".join(value for key, value in found if key == name) or msgspec.UNSET):
                return False
        accepted[0] = found
        return True

    def accept(found: Headers, body: bytes) -> Mapping[str, Any] | None:
        if found is not accepted[0] and not accept_head(found):
            return None
        if body.startswith(_MARKS) or (text is not None and not text(body.decode("utf-8", "replace"))):
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


def _at(document: Any, path: tuple[str, ...]) -> Any:
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
