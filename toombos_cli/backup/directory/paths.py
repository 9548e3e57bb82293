"""Where the files of backup and restore lie in a project."""

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
        """Exists from the beginning of a restore to its end."""
        return self.project / "run" / "restore.json"

    @property
    def catalogue(self) -> Path:
        return self.directory / "catalogue.json"

    @property
    def latest_good(self) -> Path:
        return self.directory / "latest-good"

    @property
    def owner(self) -> Path:
        """Names the project that the directory belongs to, where it lies outside of it."""
        return self.directory / ".project"

    @property
    def trash(self) -> Path:
        return self.directory / ".trash"

    @property
    def scratch(self) -> Path:
        """For one operation under the lock; whatever is in it was left by a process that died."""
        return self.directory / ".scratch"

    def create(self) -> None:
        """Makes the backup directory, private to the user."""
        make_private_directory(self.directory)
