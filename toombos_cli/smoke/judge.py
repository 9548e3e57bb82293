"""Compares a response with the conditions of its step, without any I/O."""

from dataclasses import dataclass
from typing import Any

import msgspec

from toombos_cli.base.text import one_line
from toombos_cli.manifest.tables.conditions import read_condition, value_at
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.probes import ProbeResult, Reason, read_json
from toombos_cli.smoke.metrics import metric_value
from toombos_cli.smoke.schema import Contract

_SHOWN_CHARS = 300


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One difference from what the step demands."""

    expected: str
    got: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseVerdict:
    """The result of a comparison. `body` is the decoded JSON or UNSET; `doubts` name what could not be judged."""

    mismatches: tuple[Mismatch, ...] = ()
    doubts: tuple[str, ...] = ()
    body: Any = msgspec.UNSET


def judge_answer(step: SmokeStep, result: ProbeResult, contract: Contract | None) -> ResponseVerdict:
    """Return every mismatch of the response, the status first. The variables of `step` must be filled in."""
    if result.http_status is None or result.reason not in (Reason.OK, Reason.STATUS):
        return ResponseVerdict(mismatches=(Mismatch(_status_words(step), f"{result.reason}: {result.detail}"),))
    mismatches: list[Mismatch] = []
    doubts: list[str] = []
    if not status_fits(step.status, result.http_status):
        mismatches.append(Mismatch(_status_words(step), f"HTTP {result.http_status} {_shown(result)}".rstrip()))
        return ResponseVerdict(mismatches=tuple(mismatches))
    body, problem = _decoded(step, result)
    if problem:
        mismatches.append(Mismatch("a JSON body", f"{problem} {_shown(result)}".rstrip()))
    elif body is not msgspec.UNSET:
        mismatches += _json_mismatches(step, body)
        if contract is not None and step.method != "HEAD":
            violation, doubt = contract.judge(step.method, step.path, result, body)
            mismatches += [Mismatch("a response that conforms to the OpenAPI schema", violation)] if violation else []
            doubts += [doubt] if doubt else []
    mismatches += _text_mismatches(step, result)
    if result.latency_ms is not None and result.latency_ms > step.latency_limit_ms:
        mismatches.append(Mismatch(f"a response within {step.latency_limit_ms:g} ms", f"{result.latency_ms:.0f} ms"))
    return ResponseVerdict(mismatches=tuple(mismatches), doubts=tuple(doubts), body=body)


def status_fits(demand: int | str | tuple[int, ...], status: int) -> bool:
    """Report whether a status is the expected one, one of several, or in a class such as `4xx`."""
    if isinstance(demand, str):
        return status // 100 == int(demand[0])
    return status in (demand if isinstance(demand, tuple) else (demand,))


def summary(step: SmokeStep) -> str:
    """Return the conditions of the step as text."""
    demands = [_status_words(step)]
    demands += [f"{key} {read_condition(demand)}" for key, demand in (*step.json.items(), *step.metrics.items())]
    demands += [f"{c.service} {c.json or c.metric} rises by {c.rises_by:g}" for c in step.counters]
    return "; ".join(demands)


def _status_words(step: SmokeStep) -> str:
    if isinstance(step.status, tuple):
        return f"HTTP {' or '.join(map(str, step.status))}"
    return f"HTTP {step.status}"


def _decoded(step: SmokeStep, result: ProbeResult) -> tuple[Any, str]:
    """Return the JSON body or UNSET, and why it cannot be decoded, or ""."""
    claims_json = "json" in (result.header("content-type") or "")
    if not (step.json or step.capture or claims_json) or step.method == "HEAD":
        return msgspec.UNSET, ""
    try:
        return read_json(result), ""
    except ValueError as error:
        return msgspec.UNSET, str(error)


def _json_mismatches(step: SmokeStep, body: Any) -> list[Mismatch]:
    mismatches = []
    for path, demand in step.json.items():
        condition, value = read_condition(demand), value_at(body, path)
        if not condition.holds(value):
            mismatches.append(Mismatch(f"{path} {condition}", f"{path} {_value_words(value)}"))
    missing = [p for p in step.capture.values() if p not in step.json and value_at(body, p) is msgspec.UNSET]
    return mismatches + [Mismatch(f"{path} present, for later steps", f"{path} absent") for path in missing]


def _text_mismatches(step: SmokeStep, result: ProbeResult) -> list[Mismatch]:
    import re

    text = result.body.decode("utf-8", "replace")
    mismatches = []
    if step.text is not None and not re.search(step.text, text):
        mismatches.append(Mismatch(f"a body that matches {step.text!r}", _shown(result)))
    for metric, demand in step.metrics.items():
        condition = read_condition(demand)
        try:
            value = metric_value(text, metric)
        except ValueError as error:
            return [*mismatches, Mismatch("Prometheus text", one_line(str(error)))]
        if not condition.holds(msgspec.UNSET if value is None else value):
            got = "absent" if value is None else f"{value:g}"
            mismatches.append(Mismatch(f"{metric} {condition}", f"{metric} {got}"))
    return mismatches


def _value_words(value: Any) -> str:
    return "not there" if value is msgspec.UNSET else one_line(msgspec.json.encode(value).decode(), limit=_SHOWN_CHARS)


def _shown(result: ProbeResult) -> str:
    return one_line(result.body.decode("utf-8", "replace"), limit=_SHOWN_CHARS)
