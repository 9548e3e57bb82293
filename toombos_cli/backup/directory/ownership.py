"""A backup directory outside of the project belongs to one project.

In one that two share, `--latest-good` would restore the archives of the other, the retention would count both as
one, and each would clear away what the other is writing.
"""

import os
from pathlib import Path

from toombos_cli.backup.directory.paths import Place
from toombos_cli.base.errors import RefusedError
from toombos_cli.base.files import replace_file


def claim(place: Place) -> None:
    """Makes the directory this project's own. Raises RefusedError as `refuse_foreign` does, OSError."""
    refuse_foreign(place)
    if _lies_outside(place) and _owner(place) != place.project:
        replace_file(place.owner, os.fsencode(place.project), durable=True)


def refuse_foreign(place: Place) -> None:
    """RefusedError when the directory is that of another project that is still there; one that moved takes it along."""
    owner = _owner(place) if _lies_outside(place) else None
    if owner is not None and owner != place.project and owner.exists():
        raise RefusedError(
            f"the backup directory is that of another project, {owner}",
            where=str(place.directory),
            hint="name one of this project's own in toombos.toml: [backup] directory",
        )


def _lies_outside(place: Place) -> bool:
    return not place.directory.resolve().is_relative_to(place.project)


def _owner(place: Place) -> Path | None:
    try:
        return Path(os.fsdecode(place.owner.read_bytes()))
    except FileNotFoundError:
        return None
