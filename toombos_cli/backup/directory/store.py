"""The backup directory: which archives exist, which are good, and which ones a restore should use."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from toombos_cli.backup.archive.format import ArchiveKind
from toombos_cli.backup.archive.reader import read_tail
from toombos_cli.backup.directory import naming
from toombos_cli.backup.directory.catalogue import ArchiveRecord, load_catalogue, record_of, update_record
from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.durable import point_link
from toombos_cli.base.directories import sync_directory
from toombos_cli.base.errors import OperationError, ToombosError, UsageError
from toombos_cli.base.fixes import here

_CLOCK_STEP = timedelta(minutes=5)
"""A clock that is set right while archives are made goes back by less than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveInfo:
    """One archive as its index and the catalogue describe it; its content is not read.

    `verified`: the last full verification passed, and the file has not changed since. `known_good`: it is verified and
    contains files, and every file was readable and every database sound when it was made. `problem` is why it is
    unusable, "" if it is usable. `dated_ahead` is known of an archive since a time at which it was in the future.
    """

    path: Path
    created_at: datetime
    size_bytes: int
    files: int
    data_bytes: int
    kind: ArchiveKind
    verified: bool
    known_good: bool
    pinned: bool
    encrypted: bool
    problem: str = ""
    dated_ahead: bool = False

    def is_dated_ahead(self, now: datetime) -> bool:
        """Report whether its time is, or once was, in the future: the clock was ahead, and its age is unknown."""
        return self.dated_ahead or self.created_at > now + _CLOCK_STEP


def list_archives(place: Place) -> tuple[ArchiveInfo, ...]:
    """Return every archive in the backup directory, newest first; files with other names are ignored."""
    catalogue = load_catalogue(place.catalogue)
    found = []
    try:
        names = os.listdir(place.directory)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise OperationError(
            f"the backup directory cannot be read: {error.strerror}", where=str(place.directory)
        ) from None
    for name in names:
        path = place.directory / name
        made = naming.created_at(name)
        if made is None or not path.is_file():
            continue
        found.append(_describe(path, made, record_of(catalogue, name, path.stat())))
    return tuple(sorted(found, key=lambda info: (info.created_at, info.path.name), reverse=True))


def _describe(path: Path, made: datetime, record: ArchiveRecord) -> ArchiveInfo:
    encrypted = path.name.endswith(naming.AGE_SUFFIX)
    files = data_bytes = 0
    kind: ArchiveKind = "regular"
    problem = record.reason if record.outcome == "bad" else ""
    complete = record.outcome == "good" and record.complete
    if not encrypted:
        try:
            tail = read_tail(path)
        except ToombosError as error:
            problem, complete = str(error), False
        else:
            made = datetime.fromisoformat(tail.created_at)
            files, data_bytes, kind, complete = tail.files, tail.data_bytes, tail.kind, tail.complete
            problem = problem or ("" if complete else "something could not be read, or was not there, when it was made")
            if not files:
                problem, complete = problem or "it contains no files", False
    verified = record.outcome == "good"
    return ArchiveInfo(
        path=path,
        created_at=made,
        size_bytes=path.stat().st_size,
        files=files,
        data_bytes=data_bytes,
        kind=kind,
        verified=verified,
        known_good=verified and complete,
        pinned=record.pinned if record.pinned is not None else kind == "safety",
        encrypted=encrypted,
        problem=problem,
        dated_ahead=record.dated_ahead,
    )


def restore_candidates(archives: Sequence[ArchiveInfo], now: datetime) -> tuple[ArchiveInfo, ...]:
    """Return the archives that `--latest-good` tries, in order: newest first, those dated ahead of the time later.

    Safety backups are excluded: they hold a state that somebody wanted to leave. Emergency backups come last: they hold
    the state of a system in trouble. Archives never verified here are included, as the catalogue may be lost: a
    restore verifies them anyway.
    """
    usable = [info for info in archives if not info.problem and info.kind != "safety"]
    return tuple(sorted(usable, key=lambda info: (info.kind == "emergency", info.is_dated_ahead(now))))


def newest_known_good(archives: Sequence[ArchiveInfo], now: datetime) -> ArchiveInfo | None:
    """Return the newest archive that is known to be good, or None."""
    return next((info for info in restore_candidates(archives, now) if info.known_good), None)


def find_archive(place: Place, asked: Path) -> Path:
    """Return the archive that a path, or a name in the backup directory, refers to. Raise UsageError."""
    for candidate in (asked, place.directory / asked):
        if candidate.exists():
            return candidate.resolve()
    raise UsageError(f"there is no archive {asked}", where=str(place.directory), hint=here("backup", "list"))


def point_latest_good(place: Place, now: datetime) -> None:
    """Point `latest-good` at the newest known good archive. The caller holds the lock."""
    newest = newest_known_good(list_archives(place), now)
    if newest is not None:
        if not (place.latest_good.is_symlink() and os.readlink(place.latest_good) == newest.path.name):
            point_link(place.latest_good, newest.path.name)
    elif place.latest_good.is_symlink():
        place.latest_good.unlink()
        sync_directory(place.directory)


def remember_dated_ahead(place: Place, now: datetime) -> None:
    """Record which archives are dated in the future: once that time has come, only the record shows it."""
    for info in list_archives(place):
        if info.is_dated_ahead(now) and not info.dated_ahead:
            update_record(place.catalogue, info.path, dated_ahead=True)


def utc_now() -> datetime:
    return datetime.now(UTC)
