"""What this machine knows of its archives beyond what they say themselves: verified when, pinned, drilled.

A record counts only for the very file it was made of (size and mtime). When the catalogue is lost, archives are
merely unverified until the next `toombos backup verify`.
"""

import os
from pathlib import Path
from typing import Literal

import msgspec

from toombos_cli.base.files import replace_file


class ArchiveRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One archive. `outcome` of the last full verification; `pinned` None: as its kind says."""

    size_bytes: int = 0
    mtime_ns: int = 0
    outcome: Literal["good", "bad", "unknown"] = "unknown"
    complete: bool = True  # asked of encrypted archives, whose index cannot be read
    reason: str = ""
    checked_at: str = ""
    pinned: bool | None = None


class Drill(msgspec.Struct, frozen=True, kw_only=True):
    """The last time that a restore was proven."""

    archive: str
    at: str
    duration_s: float


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The file `catalogue.json`; records by the archive's file name."""

    records: dict[str, ArchiveRecord] = {}
    drill: Drill | None = None


def load_catalogue(path: Path) -> Catalogue:
    """The catalogue; an empty one when there is none, or none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Catalogue)
    except (OSError, msgspec.DecodeError):
        return Catalogue()


def save_catalogue(path: Path, catalogue: Catalogue) -> None:
    """Replaces the catalogue in one step. The caller holds the lock."""
    replace_file(path, msgspec.json.format(msgspec.json.encode(catalogue), indent=1) + b"\n", durable=True)


def record_of(catalogue: Catalogue, name: str, status: os.stat_result) -> ArchiveRecord:
    """What is known of this file: a verification of a file that has changed since is forgotten."""
    record = catalogue.records.get(name, ArchiveRecord())
    if (record.size_bytes, record.mtime_ns) == (status.st_size, status.st_mtime_ns):
        return record
    return ArchiveRecord(pinned=record.pinned)


def update_record(path: Path, archive: Path, **changes: object) -> None:
    """Changes the record of one archive, as the file is now. The caller holds the lock."""
    catalogue = load_catalogue(path)
    status = archive.stat()
    record = msgspec.structs.replace(
        record_of(catalogue, archive.name, status), size_bytes=status.st_size, mtime_ns=status.st_mtime_ns, **changes
    )
    records = {**catalogue.records, archive.name: record}
    save_catalogue(path, msgspec.structs.replace(catalogue, records=records))
