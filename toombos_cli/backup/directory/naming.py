"""The names of archives, which contain their time (`toombos-20261123T224243Z-1f0a.tar.zst`), and of related files."""

import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from toombos_cli.backup.directory.paths import Place

SUFFIX = ".tar.zst"
AGE_SUFFIX = ".tar.zst.age"
PARTIAL = ".partial"
"""The suffix of a file that is being written."""
_PATTERN = re.compile(r"toombos-(\d{8}T\d{6}Z)-[0-9a-f]{4}\.tar\.zst(\.age)?")


def _four_digits() -> str:
    return secrets.token_hex(2)


def new_path(directory: Path, at: datetime, *, encrypted: bool = False, draw: Callable[[], str] = _four_digits) -> Path:
    """Return a free path that sorts by time. The caller holds the directory's lock, so it stays free.

    `draw` returns four hexadecimal digits that distinguish archives of the same second.
    """
    stamp = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    suffix = AGE_SUFFIX if encrypted else SUFFIX
    while (path := directory / f"toombos-{stamp}-{draw()}{suffix}").exists():
        pass
    return path


def created_at(name: str) -> datetime | None:
    """Return when an archive of this name was made, or None if toombos does not make such names."""
    match = _PATTERN.fullmatch(name)
    if match is None:
        return None
    try:
        return datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def partial_path(place: Place, name: str) -> Path:
    """Return where an archive is written before it is published."""
    return place.directory / f".{name}{PARTIAL}"


def checksum_path(archive: Path) -> Path:
    """Return the path of the archive's checksum file, in the format of `sha256sum -c`."""
    return archive.with_name(archive.name + ".sha256")
