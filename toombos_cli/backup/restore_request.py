"""What a restore is asked to do, and who stops and starts the services for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from toombos_cli.backup.archive.encryption import NO_KEYS, Keys
from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.postgres import Postgres
from toombos_cli.backup.selection import Scope


class Services(Protocol):
    """How a restore stops and starts what runs; the command line binds it to the supervisor."""

    def stop(self) -> tuple[str, ...]:
        """Stops everything that runs; returns the names of what ran. Raises ToombosError."""

    def logs_in_use(self) -> frozenset[str]:
        """Files that what `stop` left running writes to, until `start` has it begin anew."""

    def start(self, names: tuple[str, ...]) -> None:
        """Starts these and returns when they are healthy. Raises ToombosError when they are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """What to restore: `archive` None means the newest good one, `only` empty means all roots.

    `unsaved` gives the reason for each database of the settings that cannot be restored to.
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
