"""The manifest's `[[smoke]]` tables: declarative steps of the smoke test."""

from typing import Any, Literal

from toombos_cli.manifest.service import Table


class Step(Table, frozen=True):
    """One request and what must be true of its answer.

    `json` maps a JSON path to the expected value; `capture` maps a name to a JSON path, and later steps use it
    as `${name}`. A step that writes (any method but GET and HEAD) is sent to a system in dry-run mode alone.
    """

    name: str
    service: str
    path: str
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    headers: dict[str, str] = {}
    body: Any = None
    status: int | tuple[int, ...] = 200
    json: dict[str, Any] = {}
    json_schema: bool = True
    """Judge the body by the service's own OpenAPI schema of this route and status."""
    capture: dict[str, str] = {}
    latency_limit_ms: float = 5000.0
    optional: bool = False
