"""What this machine knows about its archives that is not in them: verification, pins, the last drill.

A record is valid only for the file it was made for (same size and mtime). If the catalogue is lost, archives only
count as unverified until the next `toombos backup verify`.
"""

import os
from pathlib import Path
from typing import Literal

import msgspec

from toombos_cli.base.files import replace_file
from toombos_cli.base.own_records import encode_own, read_own
from toombos_cli.base.untrusted import UntrustedError


class ArchiveRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One archive. `outcome` is that of the last full verification; `pinned` None means the default of its kind.

    `dated_ahead` means that its time was in the future when a later operation looked, so the clock was ahead.
    """

    size_bytes: int = 0
    mtime_ns: int = 0
    outcome: Literal["good", "bad", "unknown"] = "unknown"
    complete: bool = True  # needed for encrypted archives, whose index cannot be read
    reason: str = ""
    checked_at: str = ""
    pinned: bool | None = None
    dated_ahead: bool = False


class Drill(msgspec.Struct, frozen=True, kw_only=True):
    """The last successful drill."""

    archive: str
    at: str
    duration_s: float


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The file `catalogue.json`; records are keyed by the archive's file name."""

    records: dict[str, ArchiveRecord] = {}
    drill: Drill | None = None


def load_catalogue(path: Path) -> Catalogue:
    """Return the catalogue, an empty one if the file is missing or unreadable."""
    try:
        return read_own(path, Catalogue)
    except (OSError, UntrustedError):
        return Catalogue()


def save_catalogue(path: Path, catalogue: Catalogue) -> None:
    """Replace the catalogue in one step. The caller holds the lock."""
    replace_file(path, msgspec.json.format(encode_own(catalogue), indent=1) + b"\n", durable=True)


def record_of(catalogue: Catalogue, name: str, status: os.stat_result) -> ArchiveRecord:
    """Return the record of this file; a verification is discarded if the file has changed since."""
    record = catalogue.records.get(name, ArchiveRecord())
    if (record.size_bytes, record.mtime_ns) == (status.st_size, status.st_mtime_ns):
        return record
    return ArchiveRecord(pinned=record.pinned, dated_ahead=record.dated_ahead)


def update_record(path: Path, archive: Path, **changes: object) -> None:
    """Update the record of one archive to its present size and mtime. The caller holds the lock."""
    catalogue = load_catalogue(path)
    status = archive.stat()
    record = msgspec.structs.replace(
        record_of(catalogue, archive.name, status), size_bytes=status.st_size, mtime_ns=status.st_mtime_ns, **changes
    )
    records = {**catalogue.records, archive.name: record}
    save_catalogue(path, msgspec.structs.replace(catalogue, records=records))
