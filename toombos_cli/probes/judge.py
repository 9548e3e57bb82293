"""The one judge of health responses: a response and what is expected of it make a state, with the reason for it.

`start`, `--wait`, `status`, `health`, `smoke`, `diagnose` and the supervisor all ask it, so that they cannot disagree.
The words that it knows are in `manifest/tables/health_words.py`; docs/health.md explains the rules.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Literal

from msgspec.structs import replace

from toombos_cli.base.results import Verdict
from toombos_cli.base.text import one_line
from toombos_cli.manifest.tables.expectations import Expectation, status_fits
from toombos_cli.manifest.tables.health_words import UNCERTAIN, dictionary, normalized
from toombos_cli.probes.health_document import State, judge_document, judge_text
from toombos_cli.probes.result import Cause, ProbeResult, Reason

Expects = Literal["status", "any", "page"]

_PAGE = re.compile(r"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.I | re.S)
_XML = re.compile(r"\s*<\?xml\b")
_XML_TYPE = re.compile(r"(application|text)/(.*\+)?xml$")
_MESSAGE_KEYS = ("detail", "message", "error", "title")
_SHOWN_CHARS = 200


class HealthState(StrEnum):
    """What a response says of the service. Only a WELL or DEGRADED one is ready."""

    WELL = "well"
    STARTING = "starting"
    DEGRADED = "degraded"
    """It works with restrictions."""
    DOWN = "down"


_CAUSES = {
    HealthState.STARTING: Cause.STARTING,
    HealthState.DEGRADED: Cause.DEGRADED,
    HealthState.DOWN: Cause.UNWELL,
}


def judge_health(
    result: ProbeResult,
    expectation: Expectation,
    *,
    expects: Expects = "any",
    words: Mapping[str, str] | None = None,
    slow_after_ms: float | None = None,
) -> ProbeResult:
    """Return the result with the reason, cause and detail that the response deserves; a good one stays as it is.

    Conditions in the expectation decide alone. Without them, a 2xx is good unless its body denies it. `expects` then
    narrows or widens what a good body is: `status` demands a JSON object with a `status` that is known as good, `page`
    accepts a web page at every path. `words` maps a word to its state. A word that is not in it is good, and noted.
    """
    if result.http_status is None:
        return result
    known = dictionary() if words is None else words
    if expectation.decides:
        return _compared(result, expectation, slow_after_ms, known)
    if result.reason is Reason.STATUS:
        return replace(result, detail=_with_its_words(result, known))
    if result.reason not in (Reason.OK, Reason.SLOW):
        return result
    if expectation.path.partition("?")[0] == "/" and expects == "any":
        expects = "page"
    return _by_its_body(result, expects, known)


def health_state(reason: Reason, cause: Cause | None) -> HealthState:
    """Return the state behind a judged result."""
    if reason in (Reason.OK, Reason.SLOW):
        return HealthState.WELL
    return next((state for state, its in _CAUSES.items() if its is cause), HealthState.DOWN)


def health_verdict(reason: Reason, cause: Cause | None) -> Verdict:
    """Return PASS for a judged result that is well; WARN if it is slow or degraded; else FAIL.

    ERROR if the probe could not be made, SKIP if there is nothing that could be asked.
    """
    if reason is Reason.NOT_KNOWN:
        return Verdict.SKIP
    if reason is Reason.OK:
        return Verdict.PASS
    if reason is Reason.ERROR:
        return Verdict.ERROR
    is_restricted = reason is Reason.SLOW or health_state(reason, cause) is HealthState.DEGRADED
    return Verdict.WARN if is_restricted else Verdict.FAIL


def is_ready(reason: Reason, cause: Cause | None) -> bool:
    """Report whether a judged result lets its service take part: it is well, if slow, or degraded."""
    return health_state(reason, cause) in (HealthState.WELL, HealthState.DEGRADED)


def read_json(result: ProbeResult) -> Any:
    """Return the body as JSON. Raise UntrustedError."""
    from toombos_cli.base.plain_files import MOST_BYTES
    from toombos_cli.base.untrusted import UntrustedError, decode_untrusted

    if result.truncated:
        raise UntrustedError(f"the body is longer than {len(result.body)} bytes")
    if not result.body.strip():
        raise UntrustedError("the body is empty")
    try:
        return decode_untrusted(result.json_bytes, most_bytes=max(MOST_BYTES, 4 * len(result.body)))
    except UntrustedError as error:
        raise UntrustedError(f"the body is not JSON: {error}") from None


def said_dry_run(body: bytes | str) -> bool | None:
    """Return the boolean member `dry_run` of a health response, or None if it has none."""
    from toombos_cli.base.untrusted import UntrustedError, decode_untrusted

    try:
        document = decode_untrusted(body)
    except UntrustedError:
        return None
    said = document.get("dry_run") if isinstance(document, dict) else None
    return said if isinstance(said, bool) else None


def _compared(
    result: ProbeResult, expectation: Expectation, slow_after_ms: float | None, words: Mapping[str, str]
) -> ProbeResult:
    """Return the result by the written conditions alone."""
    status = result.http_status or 0
    demand = "2xx" if expectation.status is None else expectation.status
    if not status_fits(demand, status):
        detail = _with_its_words(result, words)
        wanted = " or ".join(map(str, demand)) if isinstance(demand, tuple) else demand
        if expectation.status is not None:
            detail = one_line(f"{detail}, expected {wanted}")
        return replace(result, reason=Reason.STATUS, cause=None, detail=detail)
    if result.reason is Reason.BODY and (expectation.json or expectation.text is not None):
        return result  # the probe could not read the body, and says why
    problem = _unmet(result, expectation)
    if problem is not None:
        cause, detail = problem
        return replace(result, reason=Reason.BODY, cause=cause, detail=one_line(detail))
    latency_ms = result.latency_ms or 0.0
    if slow_after_ms is not None and latency_ms > slow_after_ms:
        detail = f"responded after {latency_ms:.0f} ms, more than {slow_after_ms:.0f} ms"
        return replace(result, reason=Reason.SLOW, cause=None, detail=detail)
    return replace(result, reason=Reason.OK, cause=None, detail="")


def _unmet(result: ProbeResult, expectation: Expectation) -> tuple[Cause, str] | None:
    """Return the first condition on the body that does not hold, or None."""
    if expectation.text is not None and re.search(expectation.text, result.text) is None:
        longer = f" in its first {len(result.body)} bytes" if result.truncated else ""
        return Cause.UNEXPECTED, f"the body does not match {expectation.text!r}{longer}: {_shown(result)}"
    if not expectation.json:
        return None
    import msgspec

    from toombos_cli.manifest.tables.conditions import read_condition, value_at

    try:
        document = read_json(result)
    except ValueError as error:
        return Cause.UNREADABLE, _with_remedy(result, str(error))
    for path, demand in expectation.json.items():
        found, condition = value_at(document, path), read_condition(demand)
        if not condition.holds(found):
            got = (
                "nothing is there" if found is msgspec.UNSET else f"it is {_short(msgspec.json.encode(found).decode())}"
            )
            return Cause.UNEXPECTED, f"{path} must be {condition}, and {got}"
    return None


def _with_its_words(result: ProbeResult, words: Mapping[str, str]) -> str:
    """Return the detail of a response that is not good by its status, with what its body says is wrong."""
    detail = result.detail or f"HTTP {result.http_status}"
    if _media_type(result) in ("text/html", "text/plain") or result.header("location"):
        return detail  # the probe has quoted it
    try:
        document = read_json(result)
    except ValueError:
        said = _by_its_body(replace(result, reason=Reason.OK, detail=""), "page", words)
        return one_line(f"{detail}: {said.detail}") if said.cause in _CAUSES.values() else detail
    if not isinstance(document, dict):
        return detail
    beside = _without_code(document, result.http_status)
    state = judge_document(beside, words)
    said_of_it = f"the body says {state.where}" if state.where else _message(beside, result.http_status)
    return one_line(f"{detail}: {said_of_it}") if said_of_it else detail


def _without_code(document: dict[str, Any], status: int | None) -> dict[str, Any]:
    """Return the document without members that only repeat the HTTP status."""
    return {
        key: _without_code(value, status) if isinstance(value, dict) else value
        for key, value in document.items()
        if value not in (status, str(status))
    }


def _message(document: Mapping[str, Any], status: int | None) -> str:
    """Return the message of an error in JSON, as RFC 9457 and frameworks write it; "" if it only names the status."""
    phrase = next((known.phrase for known in HTTPStatus if known == status), "")
    for key in _MESSAGE_KEYS:
        value = document.get(key)
        if isinstance(value, dict):
            value = next((value[inner] for inner in _MESSAGE_KEYS if isinstance(value.get(inner), str)), None)
        if isinstance(value, str) and value.strip() and value.casefold() != phrase.casefold():
            return f"the body says {key} {_short(value)!r}"
    return ""


def _by_its_body(result: ProbeResult, expects: Expects, words: Mapping[str, str]) -> ProbeResult:
    """Return a 2xx as its body describes the service."""
    text = result.text
    if expects != "status" and _PAGE.match(text):
        return _by_its_page(result, text, words, accepted=expects == "page")
    try:
        document = read_json(result)
    except ValueError as error:
        media_type = _media_type(result)
        is_json = media_type.endswith("json")
        if expects == "status" or (is_json and result.body.strip()):
            return _unwell(result, Cause.UNREADABLE, _with_remedy(result, str(error)))
        if _XML_TYPE.match(media_type) or _XML.match(text):
            return _by_its_xml(result, words)
        if result.truncated and not media_type.startswith("text/"):
            return _unwell(result, Cause.UNREADABLE, _with_remedy(result, str(error)))
        return result if result.truncated else _as_said(result, judge_text(text, words))
    status = document.get("status") if isinstance(document, dict) else None
    if expects == "status" and status is None:
        return _unwell(result, Cause.NO_STATUS, "the body has no `status`")
    if expects == "status" and normalized(str(status)) in UNCERTAIN:
        return _unwell(result, Cause.UNWELL, f"the body says status {_short(str(status))!r}")
    said = judge_document(document, words)
    if expects == "status" and said.state == "well" and said.unknown:
        return _unwell(result, Cause.UNWELL, f"the body says status {said.unknown!r}")
    return _as_said(result, said)


def _by_its_page(result: ProbeResult, text: str, words: Mapping[str, str], *, accepted: bool) -> ProbeResult:
    """Return the result for a web page: one that shows only a word of health, or nothing at all, is that word."""
    from toombos_cli.probes.web_page import only_text

    shown = None if result.truncated else only_text(text)
    if shown is not None:
        said = judge_text(shown, words)
        if not shown or not said.unknown:
            return _as_said(result, said)
    if accepted:
        return result
    return _unwell(result, Cause.WEB_PAGE, "the body is a web page, not a health response")


def _by_its_xml(result: ProbeResult, words: Mapping[str, str]) -> ProbeResult:
    from toombos_cli.probes.xml_document import read_xml

    if result.truncated:
        problem = f"the body is longer than {len(result.body)} bytes"
        return _unwell(result, Cause.UNREADABLE, _with_remedy(result, problem))
    try:
        document = read_xml(result.text)
    except ValueError as error:
        return _unwell(result, Cause.UNREADABLE, str(error))
    return _as_said(result, judge_document(document, words))


def _as_said(result: ProbeResult, said: State) -> ProbeResult:
    state = HealthState(said.state)
    if state is not HealthState.WELL:
        return _unwell(result, _CAUSES[state], f"the body says {said.where}")
    if said.unknown:
        return replace(
            result, note=one_line(f"the body says {_short(said.unknown)!r}, which is no known word of health")
        )
    return result


def _unwell(result: ProbeResult, cause: Cause, detail: str) -> ProbeResult:
    return replace(result, reason=Reason.BODY, cause=cause, detail=one_line(detail))


def _with_remedy(result: ProbeResult, problem: str) -> str:
    return f"{problem}; body_max allows more" if result.truncated else problem


def _media_type(result: ProbeResult) -> str:
    return (result.header("content-type") or "").partition(";")[0].strip().lower()


def _shown(result: ProbeResult) -> str:
    return _short(" ".join(result.text.split())) or "it is empty"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"
