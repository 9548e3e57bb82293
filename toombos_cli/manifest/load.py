"""The manifest's `[load]` table: what `toombos load` does when it is told nothing."""

from typing import Any, Literal

from toombos_cli.manifest.service import Table


class LoadDefaults(Table, frozen=True):
    """The default target: a service's route, the request to send, and how often."""

    service: str | None = None
    path: str = "/"
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    body: Any = None
    requests: int = 100
    connections: int = 10
    timeout_s: float = 30.0
    allowed_targets: tuple[str, ...] = ()
