"""What the body of a health answer says, whatever its status line claims."""

import re
from dataclasses import replace
from typing import Any, Literal

from toombos_cli.base.results import Verdict
from toombos_cli.base.text import one_line
from toombos_cli.probes.result import ProbeResult, Reason

# Words that services use for "all is well", in lower case; any other word is degraded, never up.
_WELL = frozenset({"healthy", "ok", "up", "pass", "passing", "alive", "ready", "success", "green", "true"})
_RESTRICTED = frozenset({"degraded", "warn", "warning"})
WEB_PAGE = "the body is a web page, not a health answer"
_HTML = re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE)


Expects = Literal["status", "any", "page"]


def judge_health(result: ProbeResult, *, expects: Expects = "any") -> ProbeResult:
    """The result with reason body and a detail, when a 2xx does not say that the service is well; else unchanged.

    `status` expects a JSON object with a `status`. `any` takes what is not JSON as it is, but no web page: that comes
    from a catch-all route or another server. `page` takes that as well. Only it and plain text may be longer than
    what was read of it.
    """
    if result.reason not in (Reason.OK, Reason.SLOW):
        return result
    complaint = _complaint(result, expects)
    return replace(result, reason=Reason.BODY, detail=complaint) if complaint else result


def health_verdict(result: ProbeResult) -> Verdict:
    """PASS for a judged result that is ok; WARN for one that is late, or says that it works with restrictions."""
    if result.reason is Reason.OK:
        return Verdict.PASS
    restricted = result.reason is Reason.BODY and _says_degraded(result)
    return Verdict.WARN if restricted or result.reason is Reason.SLOW else Verdict.FAIL


def _says_degraded(result: ProbeResult) -> bool:
    try:
        document = read_json(result)
    except ValueError:
        return False
    return isinstance(document, dict) and str(document.get("status")).lower() in _RESTRICTED


def read_json(result: ProbeResult) -> Any:
    """The body as JSON. Raises ValueError that says why it is none."""
    if result.truncated:
        raise ValueError(f"the body is longer than {len(result.body)} bytes")
    if not result.body.strip():
        raise ValueError("the body is empty")
    import msgspec

    try:
        return msgspec.json.decode(result.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("the body is JSON nested too deeply") from None


def _complaint(result: ProbeResult, expects: Expects) -> str:
    if expects != "status" and _HTML.match(result.body):
        return "" if expects == "page" else WEB_PAGE
    try:
        document = read_json(result)
    except ValueError as error:
        media_type = result.header("content-type") or ""
        cut_off = result.truncated and not media_type.startswith("text/plain")
        if expects == "status" or cut_off or ("json" in media_type and result.body.strip()):
            return one_line(str(error))
        return ""
    status = document.get("status") if isinstance(document, dict) else None
    if status is None:
        return "the body has no `status`" if expects == "status" else ""
    word = str(status).lower()
    return "" if word in _WELL else one_line(f"the body says status {word!r}")


def said_dry_run(body: bytes | str) -> bool | None:
    """Return the boolean member `dry_run` of a health response, or None if it has none."""
    import msgspec

    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    said = document.get("dry_run") if isinstance(document, dict) else None
    return said if isinstance(said, bool) else None
