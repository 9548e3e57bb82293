"""The manifest's `[logs]` table, in a module of its own because the supervisor needs only this part of the model."""

from toombos_cli.manifest.tables.table import Table


class Logs(Table, frozen=True):
    """When to rotate the services' logs: at either limit. The newest archive stays uncompressed."""

    max_mb: int = 50
    daily: bool = True
    keep: int = 30
    compress: bool = True

    def __post_init__(self) -> None:
        if self.max_mb < 1 or self.keep < 1:
            raise ValueError("max_mb and keep must be at least 1")
