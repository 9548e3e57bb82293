"""Ensures that a backup directory outside the project belongs to one project only.

If two projects shared one, `--latest-good` could restore the other's archives, the retention would count both
together, and each would delete what the other is writing.
"""

import os
from pathlib import Path

from toombos_cli.backup.directory.paths import Place
from toombos_cli.base.errors import RefusedError
from toombos_cli.base.files import replace_file


def claim(place: Place) -> None:
    """Mark the directory as this project's. Raise RefusedError as `refuse_foreign` does, or OSError."""
    refuse_foreign(place)
    if _lies_outside(place) and _owner(place) != place.project:
        replace_file(place.owner, os.fsencode(place.project), durable=True)


def refuse_foreign(place: Place) -> None:
    """Raise RefusedError if the directory belongs to another existing project; a moved project keeps its own."""
    owner = _owner(place) if _lies_outside(place) else None
    if owner is not None and owner != place.project and owner.exists():
        raise RefusedError(
            f"the backup directory belongs to another project, {owner}",
            where=str(place.directory),
            hint="set a directory for this project in toombos.toml: [backup] directory",
        )


def _lies_outside(place: Place) -> bool:
    return not place.directory.resolve().is_relative_to(place.project)


def _owner(place: Place) -> Path | None:
    try:
        return Path(os.fsdecode(place.owner.read_bytes()))
    except FileNotFoundError:
        return None
