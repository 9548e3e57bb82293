"""The manifest's `[services.NAME.watch]` table: the files whose changes restart a service."""

from toombos_cli.manifest.tables.table import Table


class WatchTable(Table, frozen=True):
    """The files that are watched. Paths and patterns begin at the project directory.

    `*` stands for any part of a name, `**` for any directories. A path of a directory means all that is in it.
    """

    paths: tuple[str, ...]
    ignore: tuple[str, ...] = ()
    debounce_s: float = 0.2

    def __post_init__(self) -> None:
        if not self.paths:
            raise ValueError("paths must name a file, a directory or a pattern")
        check_patterns((*self.paths, *self.ignore))
        if not 0.02 <= self.debounce_s <= 60:
            raise ValueError("debounce_s must be between 0.02 and 60 seconds")


def check_patterns(patterns: tuple[str, ...]) -> None:
    """Raise ValueError for an empty pattern, or one with the character NUL."""
    for pattern in patterns:
        if not pattern or "\0" in pattern:
            raise ValueError("a pattern must not be empty or contain the character NUL")
