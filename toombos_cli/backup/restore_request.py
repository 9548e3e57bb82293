"""The request for a restore, and the interface that stops and starts the services for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from toombos_cli.backup.archive.encryption import NO_KEYS, Keys
from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.postgres import Postgres
from toombos_cli.backup.selection import Scope


class Services(Protocol):
    """Stops and starts the services for a restore; the command line binds it to the supervisor."""

    def stop(self) -> tuple[str, ...]:
        """Stop everything that runs and return the names. Raise ToombosError."""

    def logs_in_use(self) -> frozenset[str]:
        """Return the logs of services that `stop` deliberately left running; `start` makes them reopen their files."""

    def start(self, names: tuple[str, ...]) -> None:
        """Start these services and return when they are healthy. Raise ToombosError if they do not become healthy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """What to restore: `archive` None means the newest good one, an empty `only` means all roots.

    `is_new` means that the project has no manifest of its own, so that any root of an archive may be its own.
    `unsaved` maps each database of the settings that cannot be restored to the reason.
    """

    place: Place
    scope: Scope
    archive: Path | None = None
    only: tuple[str, ...] = ()
    preview: bool = False
    start: bool = True
    postgres: Postgres | None = None
    unsaved: Mapping[bytes, str] = field(default_factory=dict)
    keys: Keys = NO_KEYS
    database_timeout_s: float = 600.0
    is_new: bool = False

    @property
    def known(self) -> frozenset[bytes] | None:
        """The names that a backup of this project has; None if any name may be one."""
        return None if self.is_new else self.scope.databases | {root.path.encode() for root in self.scope.roots}
