"""What a service waits for before it starts: the values of `depends_on`."""

from typing import Literal

from toombos_cli.manifest.tables.table import Table

When = Literal["started", "ready", "completed"]


class Dependency(Table, frozen=True):
    """The long form of a dependency."""

    when: When | None = None
    """What it waits for: `ready`, or `completed` for a task, if it is not set."""
    restart: bool = False
    """Restart the service whenever the other one gets a new process."""
