"""Compares a response with the conditions of its step, without any I/O."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from toombos_cli.base.exact_numbers import encode_exact
from toombos_cli.base.text import one_line
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted
from toombos_cli.manifest.tables.conditions import Condition, read_condition, value_at
from toombos_cli.manifest.tables.expectations import status_fits
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.manifest.tables.smoke_parts import Capture
from toombos_cli.probes import Cause, Reason
from toombos_cli.probes.steps.metrics import metric_value
from toombos_cli.probes.steps.response import StepResponse

_SHOWN_CHARS = 300


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One difference from what the step demands."""

    expected: str
    got: str


def judge_response(step: SmokeStep, response: StepResponse) -> tuple[Mismatch, ...]:
    """Return every mismatch of the response, the status first. The variables of `step` must be filled in."""
    result = response.result
    is_response = result.reason in (Reason.OK, Reason.STATUS) or result.cause is Cause.UNREADABLE
    if result.http_status is None or not is_response:
        return (Mismatch(_status_words(step), f"{result.reason}: {result.detail}"),)
    if not status_fits(step.wanted_status, result.http_status):
        location = result.header("location")
        where = f", redirects to {one_line(location)}" if location else ""
        return (Mismatch(_status_words(step), f"HTTP {result.http_status}{where} {response.shown}".rstrip()),)
    return tuple(content_mismatches(step, response))


def summary(step: SmokeStep) -> str:
    """Return the conditions of the step as text."""
    demands = [_status_words(step)]
    for table in (step.response_headers, step.response_cookies, step.json, step.metrics):
        demands += [f"{key} {read_condition(demand)}" for key, demand in table.items()]
    demands += [f"{step.text!r} in the body"] if step.text is not None else []
    demands += [f"{c.service} {c.json or c.metric} rises by {encode_exact(c.rises_by)}" for c in step.counters]
    return "; ".join(demands)


def _status_words(step: SmokeStep) -> str:
    if isinstance(step.wanted_status, tuple):
        return f"HTTP {' or '.join(map(str, step.wanted_status))}"
    return f"HTTP {step.wanted_status}"


def content_mismatches(step: SmokeStep, response: StepResponse) -> Iterator[Mismatch]:
    """Yield what of the response, beside its status, is not as the step demands."""
    result = response.result
    if result.cause is Cause.UNREADABLE and _needs_body(step):
        yield Mismatch("a body that can be read", result.detail)
        return
    yield from _unmet(step.response_headers, response.header, _holds_for_text)
    yield from _unmet(step.response_cookies, response.cookie, _holds_for_text)
    places = [(name, place) for name, place in step.captures() if place.json is None or place.json not in step.json]
    if response.not_json and (step.json or any(place.json is not None for _, place in places)):
        yield Mismatch("a JSON body", f"{response.not_json} {response.shown}".rstrip())
        places = [(name, place) for name, place in places if place.json is None]
    else:
        yield from _unmet(step.json, lambda path: value_at(response.json, path), Condition.holds)
    for _, place in places:
        if response.find(place) is msgspec.UNSET:
            yield Mismatch(f"{_place_words(place)} present, for later steps", f"{_place_words(place)} absent")
    if result.truncated and step.metrics:
        yield Mismatch("metrics that can be read whole", f"more than {len(result.body)} bytes")
    yield from _text_mismatches(step, response)
    limit = step.latency_limit_ms
    if limit is not None and result.latency_ms is not None and result.latency_ms > limit:
        yield Mismatch(f"a response within {limit:g} ms", f"{result.latency_ms:.0f} ms")


def _needs_body(step: SmokeStep) -> bool:
    in_body = any(place.json is not None or place.text is not None for _, place in step.captures())
    return bool(step.json or step.metrics) or step.text is not None or in_body


def _unmet(
    demands: Mapping[str, Any], find: Callable[[str], Any], holds: Callable[[Condition, Any], bool]
) -> Iterator[Mismatch]:
    for place, demand in demands.items():
        condition, value = read_condition(demand), find(place)
        if not holds(condition, value):
            yield Mismatch(f"{place} {condition}", f"{place} {_value_words(value)}")


def _holds_for_text(condition: Condition, value: Any) -> bool:
    """Report whether the text of a header or cookie meets the condition, as a text or as the number that it spells."""
    if condition.holds(value):
        return True
    try:
        return isinstance(value, str) and condition.holds(decode_untrusted(value, exact=True))
    except UntrustedError:
        return False


def _text_mismatches(step: SmokeStep, response: StepResponse) -> Iterator[Mismatch]:
    text = response.text
    if step.text is not None and not re.search(step.text, text):
        yield Mismatch(f"a body that matches {step.text!r}", response.shown)
    for metric, demand in step.metrics.items():
        condition = read_condition(demand)
        try:
            value = metric_value(text, metric)
        except ValueError as error:
            yield Mismatch("Prometheus text", one_line(str(error)))
            return
        if not condition.holds(msgspec.UNSET if value is None else value):
            got = "absent" if value is None else f"{value:g}"
            yield Mismatch(f"{metric} {condition}", f"{metric} {got}")


def _place_words(place: Capture) -> str:
    if place.json is not None:
        return place.json
    if place.header is not None:
        return f"header {place.header}"
    return f"cookie {place.cookie}" if place.cookie is not None else f"{place.text!r}"


def _value_words(value: Any) -> str:
    return "not there" if value is msgspec.UNSET else one_line(encode_exact(value), limit=_SHOWN_CHARS)
