"""What the access lines of a log say about the request behind an error: whether it was our own, or succeeded since.

A success of toombos itself counts like any other. What toombos asks for and is refused (404 or 401, as a smoke test may
expect) says nothing about the requests of others.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice, takewhile

from toombos_cli.diagnose.facts.logs import LogEntry

_REQUEST = r"(?P<method>GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (?P<path>/[^\s\"?]*)"
_ACCESS = re.compile(rf'"?\b{_REQUEST}[^"]*?(?: HTTP/[\d.]+)?"?\s+"?(?P<status>[1-5]\d\d)\b')
"""An access line of nginx, Apache, gunicorn, uvicorn, Django, Flask and others."""
_NAMED = (re.compile(rf'request: "{_REQUEST}'), re.compile(r"Internal Server Error: (?P<path>/[^\s?]*)"))
"""A request that an error line itself names, as nginx and Django do."""
_OWN = re.compile(r'"toombos/[\d.]+[^"\s]*"?\s*$')
"""The end of an access line that names toombos as the client."""
_NEAR_LINES = 60
_SUCCESSES = 3
_WELL = ("1", "2", "3")
_GATEWAY = ("502", "504")
"""What a proxy answers if it did not reach the service behind it, or waited too long for it."""

Request = tuple[str, str]
"""Method and path; the method may be ""."""


def has_succeeded_since(lines: Sequence[LogEntry], error: LogEntry) -> bool:
    """Return whether the last access lines of the request that failed are of success; `lines` are in their order.

    One that failed often must have succeeded several times.
    """
    accesses = list(_after(lines, error))
    failed = _named(error.text) or _failed_after(accesses[:_NEAR_LINES])
    if failed is None:
        return False
    method, path = failed
    asked = (a for a in accesses if a["path"] == path and method in ("", a["method"]) and not _is_own_refusal(a))
    statuses = [a["status"] for a in asked]
    is_well = _reached if statuses and statuses[0] in _GATEWAY else _succeeded
    same = [is_well(status) for status in statuses]
    successes = len(list(takewhile(bool, reversed(same))))
    return successes >= max(1, min(_SUCCESSES, same.count(False)))


def _succeeded(status: str) -> bool:
    return status[0] in _WELL


def _reached(status: str) -> bool:
    """Return whether the service behind a proxy has answered, however."""
    return status not in _GATEWAY


def is_own_refusal(lines: Sequence[LogEntry], error: LogEntry) -> bool:
    """Return whether an error names a request that was toombos's own, and that was refused (4xx)."""
    named = _named(error.text)
    if named is None:
        return False
    near = islice(_after(lines, error), _NEAR_LINES)
    of_it = (a for a in near if a["path"] == named[1] and named[0] in ("", a["method"]))
    first = next(of_it, None)
    return first is not None and _is_own_refusal(first)


def _after(lines: Sequence[LogEntry], error: LogEntry) -> Iterator[re.Match[str]]:
    """Yield the access lines after an error in the same file."""
    later = (one for one in lines if one.path == error.path and one.offset > error.offset)
    yield from (match for one in later if (match := _ACCESS.search(one.text)))


def _is_own_refusal(access: re.Match[str]) -> bool:
    return access["status"][0] == "4" and _is_own(access)


def _is_own(access: re.Match[str]) -> bool:
    return _OWN.search(access.string) is not None


def _named(text: str) -> Request | None:
    match = next((match for pattern in _NAMED if (match := pattern.search(text))), None)
    return (match.groupdict().get("method") or "", match["path"]) if match else None


def _failed_after(accesses: Sequence[re.Match[str]]) -> Request | None:
    """Return the request of the first access line after an error if it failed: a server logs the error first.

    Probes of toombos that succeeded in between are passed over.
    """
    first = next((a for a in accesses if a["status"][0] == "5" or not _is_own(a)), None)
    return (first["method"], first["path"]) if first and first["status"][0] == "5" else None
