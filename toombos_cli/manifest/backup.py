"""The manifest's `[backup]` table: what a backup holds and how long it is kept."""

from toombos_cli.manifest.service import Table


class Retention(Table, frozen=True):
    """Which archives stay: the union of the newest `last` and the newest of each of so many periods."""

    last: int = 7
    daily: int = 30
    weekly: int = 0
    monthly: int = 0
    keep_within_days: int = 0
    trash_days: int = 7


class BackupScope(Table, frozen=True):
    """Roots below the project; a root that does not exist is left out and listed as absent."""

    roots: tuple[str, ...] = (".env", "toombos.toml", "data", "logs")
    exclude: tuple[str, ...] = ()
    log_roots: tuple[str, ...] = ("logs",)
    log_days: int = 7
    directory: str = "backups"
    retention: Retention = Retention()
