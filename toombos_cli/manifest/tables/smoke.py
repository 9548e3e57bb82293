"""The manifest's `[[smoke]]` tables: the declarative steps of the smoke test (docs/smoke.md)."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from toombos_cli.manifest.tables.smoke_parts import (
    VARIABLE,
    Capture,
    Cleanup,
    Counter,
    Method,
    Until,
    Upload,
    check_conditions,
    check_hex,
    check_json_path,
    check_path,
    check_regex,
)
from toombos_cli.manifest.tables.table import Table

RESERVED = ("env.", "run.")
"""The names that begin so are not for captures."""
_READS = ("GET", "HEAD", "OPTIONS")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_CLASS = re.compile(r"[1-5]xx")
_EVERYWHERE = ("name", "service", "if_set", "if_unset", "optional", "timeout_s")
_CONVERSATION = (*_EVERYWHERE, "send", "send_hex", "expect", "capture", "until", "writes", "proves_dry_run")


class SmokeStep(Table, frozen=True):
    """One request and the conditions on its response, a conversation with a TCP service, or a look at its sockets.

    `json` maps a JSON path to a condition on the value there; `metrics`, `response_headers` and `response_cookies`
    likewise. `capture` maps a name to the place of a value; later steps use it as `${name}`. A step that writes is
    sent only to a service that says that it is in dry-run mode.
    """

    name: str
    service: str
    path: str = ""
    """A path with query, or a single variable that holds a link of an earlier response."""
    method: Method = "GET"
    headers: dict[str, str] = {}
    """A header that is empty after its variables are filled in is not sent."""
    cookies: bool = True
    """Send the cookies that earlier responses of the round have set, and keep those of this one."""
    body: Any = None
    """JSON; or, with a Content-Type that is not JSON, a text as it is written."""
    raw: str | None = None
    form: dict[str, Any] = {}
    files: dict[str, Upload] = {}
    follow_redirects: bool = False
    status: int | str | tuple[int, ...] | None = None
    """One status, several, or a class such as `4xx`; by default 200."""
    response_headers: dict[str, Any] = {}
    response_cookies: dict[str, Any] = {}
    json: dict[str, Any] = {}
    json_schema: bool | None = None
    """Check a JSON body against the service's own OpenAPI schema for this route and status, if there is one; with true,
    a missing schema is a warning."""
    metrics: dict[str, Any] = {}
    text: str | None = None
    """A regular expression that the body must match."""
    send: str | None = None
    send_hex: str | None = None
    expect: str | None = None
    """A regular expression that must be found in what a TCP service sends."""
    capture: dict[str, str | Capture] = {}
    until: Until | None = None
    counters: tuple[Counter, ...] = ()
    cleanup: Cleanup | None = None
    writes: bool | None = None
    """Whether the step changes anything; by default, every method except GET, HEAD and OPTIONS does, and `send`."""
    proves_dry_run: bool = False
    """If this step passes, its service has said that it is in dry-run mode, and may be written to."""
    loopback_only: bool = False
    """Sends no request: checks that no socket of the service has reached beyond this machine since the test started."""
    silent_for_ms: float | None = None
    """For deliberately slow routes: the step fails if a response arrives sooner. Then the request is abandoned."""
    if_set: str | None = None
    if_unset: str | None = None
    """The step applies only if this variable of the environment or `.env` is set, or is not set."""
    timeout_s: float = 10.0
    latency_limit_ms: float | None = None
    optional: bool = False
    """Skip the step if nothing listens on the port."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name {self.name!r}: use letters and digits, and '-', '_' or '.' after the first")
        if (self.loopback_only, bool(self.path), self.is_conversation).count(True) != 1:
            raise ValueError(f"{self.name}: set either a path, or loopback_only = true, or send or expect")
        if self.loopback_only:
            self._has_only((*_EVERYWHERE, "loopback_only"), "a look at sockets")
        elif self.is_conversation:
            self._has_only(_CONVERSATION, "a conversation over TCP")
            self._check_conversation()
        else:
            self._check_exchange()
        self._check_captures()
        if self.until is not None and self.is_writing:
            raise ValueError(f"{self.name}: until repeats the request, so it is for steps that do not write")
        if self.until is not None and self.silent_for_ms is not None:
            raise ValueError(f"{self.name}: until and silent_for_ms exclude each other")

    @property
    def is_conversation(self) -> bool:
        """Report whether the step talks to a TCP service without HTTP."""
        return not (self.send is None and self.send_hex is None and self.expect is None)

    @property
    def is_writing(self) -> bool:
        """Report whether the step changes anything in its service."""
        if self.writes is not None:
            return self.writes
        if self.is_conversation:
            return self.send is not None or self.send_hex is not None
        return self.method not in _READS

    @property
    def wanted_status(self) -> int | str | tuple[int, ...]:
        """The status that the response must have."""
        return 200 if self.status is None else self.status

    def _has_only(self, allowed: tuple[str, ...], what: str) -> None:
        for field in msgspec.structs.fields(type(self)):
            if field.name not in allowed and getattr(self, field.name) != field.default:
                if field.default is msgspec.NODEFAULT and not getattr(self, field.name):
                    continue
                raise ValueError(f"{self.name}: {field.name} has no meaning for {what}")

    def _check_conversation(self) -> None:
        if self.send is not None and self.send_hex is not None:
            raise ValueError(f"{self.name}: send and send_hex exclude each other")
        if self.send_hex is not None:
            check_hex(f"{self.name}: send_hex", self.send_hex)
        if self.expect is not None:
            check_regex(f"{self.name}: expect", self.expect)

    def _check_exchange(self) -> None:
        check_path(self.name, self.path)
        if isinstance(self.status, str) and not _CLASS.fullmatch(self.status):
            raise ValueError(f"{self.name}: status {self.status!r} is not valid: write 200, [200, 201] or '2xx'")
        if self.text is not None:
            check_regex(f"{self.name}: text", self.text)
        for demands in (self.json, self.metrics, self.response_headers, self.response_cookies):
            check_conditions(self.name, demands)
        for path in self.json:
            check_json_path(self.name, path)
        bodies = [name for name in ("form", "files") if getattr(self, name)]
        bodies += [name for name in ("body", "raw") if getattr(self, name) is not None]
        if len(bodies) > 1 and bodies != ["form", "files"]:
            raise ValueError(f"{self.name}: {' and '.join(bodies)} exclude each other: a request has one body")
        if (self.form or self.files) and self.method in _READS:
            raise ValueError(f"{self.name}: {bodies[0]} needs a method that sends a body: method = 'POST'")
        unread = [name for name in ("json", "text", "metrics") if getattr(self, name)]
        if self.method == "HEAD" and unread:
            raise ValueError(f"{self.name}: {unread[0]} needs a body, and the response to HEAD has none")

    def _check_captures(self) -> None:
        for name, capture in self.captures():
            if not VARIABLE.fullmatch(f"${{{name}}}") or name.startswith(RESERVED):
                raise ValueError(f"{self.name}: {name!r} is not a name for a capture: use letters, digits and '_'")
            if self.method == "HEAD" and not (capture.json is None and capture.text is None):
                raise ValueError(f"{self.name}: capture needs a body, and the response to HEAD has none")
            if self.is_conversation and capture.text is None:
                raise ValueError(f"{self.name}: capture {name} from a conversation with {{ text = '(...)' }}")

    def captures(self) -> Iterator[tuple[str, Capture]]:
        """Yield the name and the place of each capture."""
        for name, place in self.capture.items():
            yield name, Capture(json=place) if isinstance(place, str) else place
