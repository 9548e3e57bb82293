"""Where the files of backup and restore are in a project."""

from dataclasses import dataclass
from pathlib import Path

from toombos_cli.base.directories import make_private_directory

STAGING_PREFIX = ".toombos-restore-"


@dataclass(frozen=True, slots=True)
class Place:
    """A project and its backup directory, both absolute."""

    project: Path
    directory: Path

    @property
    def lock(self) -> Path:
        return self.project / "run" / "backup.lock"

    @property
    def journal(self) -> Path:
        """The journal, which exists from the start of a restore to its end."""
        return self.project / "run" / "restore.json"

    @property
    def catalogue(self) -> Path:
        return self.directory / "catalogue.json"

    @property
    def copies(self) -> Path:
        """The record of the archives that were copied to remotes."""
        return self.directory / "copies.json"

    @property
    def latest_good(self) -> Path:
        return self.directory / "latest-good"

    @property
    def owner(self) -> Path:
        """The file that names the project that owns a directory outside it."""
        return self.directory / ".project"

    @property
    def trash(self) -> Path:
        return self.directory / ".trash"

    @property
    def scratch(self) -> Path:
        """The scratch directory of the operation that holds the lock; leftovers come from a process that died."""
        return self.directory / ".scratch"

    def create(self) -> None:
        """Create the backup directory, private to the user."""
        make_private_directory(self.directory)
