"""Whether the request that failed with an error has succeeded since, by the access lines of the same log."""

import re
from collections.abc import Sequence
from itertools import takewhile

from toombos_cli.diagnose.facts.logs import LogEntry

_REQUEST = r"(?P<method>GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (?P<path>/[^\s\"?]*)"
_ACCESS = re.compile(rf'"?\b{_REQUEST}[^"]*?(?: HTTP/[\d.]+)?"?\s+"?(?P<status>[1-5]\d\d)\b')
"""An access line of nginx, Apache, gunicorn, uvicorn, Django, Flask and others."""
_NAMED = (re.compile(rf'request: "{_REQUEST}'), re.compile(r"Internal Server Error: (?P<path>/[^\s?]*)"))
"""A request that an error line itself names, as nginx and Django do."""
_NEAR_LINES = 60
_SUCCESSES = 3
_WELL = ("1", "2", "3")

Request = tuple[str, str]
"""Method and path; the method may be ""."""


def has_succeeded_since(lines: Sequence[LogEntry], error: LogEntry) -> bool:
    """Return whether the last access lines of the request that failed are of success; `lines` are in their order.

    One that failed often must have succeeded several times.
    """
    later = [one for one in lines if (one.path, one.offset) > (error.path, error.offset) and one.path == error.path]
    accesses = [match for one in later if (match := _ACCESS.search(one.text))]
    failed = _named(error.text) or _failed_after(accesses[:_NEAR_LINES])
    if failed is None:
        return False
    method, path = failed
    same = [a["status"][0] in _WELL for a in accesses if a["path"] == path and method in ("", a["method"])]
    successes = len(list(takewhile(bool, reversed(same))))
    return successes >= max(1, min(_SUCCESSES, same.count(False)))


def _named(text: str) -> Request | None:
    match = next((match for pattern in _NAMED if (match := pattern.search(text))), None)
    return (match.groupdict().get("method") or "", match["path"]) if match else None


def _failed_after(accesses: Sequence[re.Match[str]]) -> Request | None:
    """Return the request of the first access line after an error if it failed: a server logs the error first."""
    first = next(iter(accesses), None)
    return (first["method"], first["path"]) if first and first["status"].startswith("5") else None
