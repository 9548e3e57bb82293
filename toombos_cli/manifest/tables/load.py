"""The manifest's `[load]` table: what `toombos load` does without options."""

from collections.abc import Mapping
from typing import Any, Literal

from toombos_cli.manifest.tables.table import Table


class LoadDefaults(Table, frozen=True):
    """The default target: a route of a service, the request to send, and how often.

    `${NAME}` in a header stands for the variable NAME; a header whose variable is not set is not sent.
    """

    service: str | None = None
    path: str = "/"
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    headers: dict[str, str | tuple[str, ...]] = {}
    """A list sends a header several times."""
    body: Any = None
    requests: int = 100
    connections: int = 10
    timeout_s: float = 30.0
    allowed_targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise ValueError(f"path must begin with /, not {self.path!r}")
        if self.requests < 1 or self.connections < 1 or self.timeout_s <= 0:
            raise ValueError("requests and connections must be at least 1, timeout_s above 0")

    def header_pairs(self) -> tuple[tuple[str, str], ...]:
        """Return the name and the value of each header, in order."""
        return header_pairs(self.headers)


def header_pairs(headers: Mapping[str, str | tuple[str, ...]]) -> tuple[tuple[str, str], ...]:
    """Return the name and the value of each header of a table, in which a list stands for one sent several times."""
    each = ((name, (value,) if isinstance(value, str) else value) for name, value in headers.items())
    return tuple((name, value) for name, values in each for value in values)
