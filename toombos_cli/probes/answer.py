"""Judges health responses: the body counts even if the status line claims success."""

import re
from dataclasses import replace
from typing import Any, Literal

from toombos_cli.base.results import Verdict
from toombos_cli.base.text import one_line
from toombos_cli.probes.result import Cause, ProbeResult, Reason

# Words that services use for "all is well", in lower case; no other word counts as up.
_WELL = frozenset({"healthy", "ok", "up", "pass", "passing", "alive", "ready", "success", "green", "true"})
_RESTRICTED = frozenset({"degraded", "warn", "warning"})
_HTML = re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE)


Expects = Literal["status", "any", "page"]


def judge_health(result: ProbeResult, *, expects: Expects = "any") -> ProbeResult:
    """Return the result with reason BODY, cause and detail if a 2xx does not say that the service is well; else as is.

    `status` expects a JSON object with a `status`. `any` also accepts a body that is not JSON, except a web page, which
    comes from a catch-all route or another server. `page` accepts that as well. Only web pages and plain text may be
    truncated.
    """
    if result.reason not in (Reason.OK, Reason.SLOW):
        return result
    complaint = _complaint(result, expects)
    if complaint is None:
        return result
    cause, detail = complaint
    return replace(result, reason=Reason.BODY, cause=cause, detail=detail)


def health_verdict(reason: Reason, cause: Cause | None) -> Verdict:
    """Return PASS for a judged result that is ok; WARN if it is slow or reports restrictions; else FAIL.

    ERROR if the probe could not be made.
    """
    if reason is Reason.OK:
        return Verdict.PASS
    if reason is Reason.ERROR:
        return Verdict.ERROR
    return Verdict.WARN if reason is Reason.SLOW or cause is Cause.DEGRADED else Verdict.FAIL


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


def _complaint(result: ProbeResult, expects: Expects) -> tuple[Cause, str] | None:
    """Return what is wrong, for a program and for a person, or None."""
    if expects != "status" and _HTML.match(result.body):
        return None if expects == "page" else (Cause.WEB_PAGE, "the body is a web page, not a health response")
    try:
        document = read_json(result)
    except ValueError as error:
        media_type = result.header("content-type") or ""
        cut_off = result.truncated and not media_type.startswith("text/plain")
        if expects == "status" or cut_off or ("json" in media_type and result.body.strip()):
            return Cause.UNREADABLE, one_line(str(error))
        return None
    status = document.get("status") if isinstance(document, dict) else None
    if status is None:
        return (Cause.NO_STATUS, "the body has no `status`") if expects == "status" else None
    word = str(status).lower()
    if word in _WELL:
        return None
    cause = Cause.DEGRADED if word in _RESTRICTED else Cause.UNWELL
    return cause, one_line(f"the body says status {word!r}")


def said_dry_run(body: bytes | str) -> bool | None:
    """Return the boolean member `dry_run` of a health response, or None if it has none."""
    from toombos_cli.base.untrusted import UntrustedError, decode_untrusted

    try:
        document = decode_untrusted(body)
    except UntrustedError:
        return None
    said = document.get("dry_run") if isinstance(document, dict) else None
    return said if isinstance(said, bool) else None
