"""The manifest's `[logs]` table. Apart from the model, for the supervisor needs no more of it than this."""

from toombos_cli.manifest.tables.service import Table


class Logs(Table, frozen=True):
    """Rotation of every service's log: when either limit is reached, with the newest archive left uncompressed."""

    max_mb: int = 50
    daily: bool = True
    keep: int = 30
    compress: bool = True

    def __post_init__(self) -> None:
        if self.max_mb < 1 or self.keep < 1:
            raise ValueError("max_mb and keep must be at least 1")
