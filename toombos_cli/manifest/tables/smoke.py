"""The manifest's `[[smoke]]` tables: the declarative steps of the smoke test (docs/smoke.md)."""

import re
from typing import Any, Literal

from toombos_cli.manifest.tables.conditions import read_condition, value_at
from toombos_cli.manifest.tables.service import Table

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_CLASS = re.compile(r"[1-5]xx")


class Counter(Table, frozen=True):
    """A number that a step must raise by exactly `rises_by`: at a JSON path of a response, or a Prometheus metric."""

    service: str
    path: str
    rises_by: float
    json: str | None = None
    metric: str | None = None
    """`name` or `name{label="value"}`; matching samples are added up."""

    def __post_init__(self) -> None:
        if (self.json is None) == (self.metric is None):
            raise ValueError("a counter needs either `json` or `metric`")


class Untouched(Table, frozen=True):
    """A condition that must hold before the first step for a cleanup to be allowed."""

    path: str
    json: dict[str, Any]


class Cleanup(Table, frozen=True):
    """A request to the step's service that undoes the step; it is sent at the end, even if the step failed."""

    path: str
    method: Method = "DELETE"
    status: tuple[int, ...] = (200, 202, 204, 404)
    if_at_start: Untouched | None = None
    """For a request that removes more than the step created: send it only if there was nothing else to remove."""


class SmokeStep(Table, frozen=True):
    """One request and the conditions on its response, or on the service's sockets with `loopback_only`.

    `json` maps a JSON path to a condition on the value there, `metrics` a Prometheus metric likewise. `capture` maps a
    name to a JSON path; later steps use it as `${name}`. A step that writes is sent only to a service that says that
    it is in dry-run mode.
    """

    name: str
    service: str
    path: str = ""
    method: Method = "GET"
    headers: dict[str, str] = {}
    """A header that is empty after its variables are filled in is not sent."""
    body: Any = None
    status: int | str | tuple[int, ...] = 200
    """One status, several, or a class such as `4xx`."""
    json: dict[str, Any] = {}
    json_schema: bool = True
    """Check a JSON body against the service's own OpenAPI schema for this route and status."""
    metrics: dict[str, Any] = {}
    text: str | None = None
    """A regular expression that the body must match."""
    capture: dict[str, str] = {}
    counters: tuple[Counter, ...] = ()
    cleanup: Cleanup | None = None
    writes: bool | None = None
    """Whether the step changes anything; by default, every method except GET and HEAD does."""
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
    latency_limit_ms: float = 5000.0
    optional: bool = False
    """Skip the step if nothing listens on the port."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name {self.name!r}: use letters and digits, and '-', '_' or '.' after the first")
        if self.loopback_only == bool(self.path):
            raise ValueError(f"{self.name}: set either a path or loopback_only = true")
        if self.path and not self.path.startswith("/"):
            raise ValueError(f"{self.name}: path must begin with /, not {self.path!r}")
        if isinstance(self.status, str) and not _CLASS.fullmatch(self.status):
            raise ValueError(f"{self.name}: status {self.status!r} is not valid: write 200, [200, 201] or '2xx'")
        if self.text is not None:
            re.compile(self.text)
        for demands in (self.json, self.metrics):
            for key, demand in demands.items():
                _check(f"{self.name}: {key}", lambda demand=demand: read_condition(demand))
        for path in (*self.json, *self.capture.values()):
            _check(self.name, lambda path=path: value_at(None, path))

    @property
    def is_writing(self) -> bool:
        """Report whether the step changes anything in its service."""
        return self.method not in ("GET", "HEAD") if self.writes is None else self.writes


def _check(where: str, read: Any) -> None:
    try:
        read()
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
