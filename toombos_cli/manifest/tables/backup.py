"""The manifest's `[backup]` table: what a backup contains, where it goes and how long it is kept."""

from toombos_cli.manifest.tables.table import Table


class Retention(Table, frozen=True):
    """Which archives are kept: the newest `last`, and the newest of each of the last days, weeks and months."""

    last: int = 7
    daily: int = 30
    weekly: int = 0
    monthly: int = 0
    keep_within_days: int = 0
    trash_days: int = 7

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")


class ServiceBackup(Table, frozen=True):
    """How the data of one service is saved. `command` prints what belongs into the archive.

    `stop` allows a backup to stop the service while it reads its data directory, and starts it again.
    """

    command: tuple[str, ...] = ()
    stop: bool = False


class BackupScope(Table, frozen=True):
    """What to back up, and where to. A root that does not exist is left out and listed as absent.

    From `log_roots`, only files changed in the last `log_days` days are taken. Archives are encrypted for
    `age_recipients`, if any; `age_identity` is the file with the key that opens them. `remote` receives a copy of each.
    `elsewhere` are files and directories outside the roots that are saved in another way.
    `before` and `after` are programs that run around each backup; `after` runs even if the backup failed.
    """

    roots: tuple[str, ...] = (".env", "toombos.toml", "data", "logs")
    exclude: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    log_roots: tuple[str, ...] = ("logs",)
    log_days: int = 7
    directory: str = "backups"
    max_age_h: float = 26.0
    snapshot_timeout_s: float = 600.0
    age_recipients: tuple[str, ...] = ()
    age_identity: str = ""
    remote: str = ""
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    retention: Retention = Retention()

    def __post_init__(self) -> None:
        for root in (*self.roots, *self.log_roots):
            if not root or root.startswith("/") or any(part in ("", ".", "..") for part in root.split("/")):
                raise ValueError(f"the root {root!r} must be a plain path below the project")
        if not self.roots:
            raise ValueError("roots must not be empty")
        if self.log_days < 1 or self.max_age_h <= 0 or self.snapshot_timeout_s <= 0:
            raise ValueError("log_days, max_age_h and snapshot_timeout_s must be above 0")
