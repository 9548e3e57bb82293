"""Compares the archives at the remote with those here: which are only there, and which are missing there."""

from datetime import datetime
from pathlib import Path

from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.directory.remote import RemoteArchive, address_of, directory_of, list_remote, send
from toombos_cli.backup.directory.remote_copies import copies_at, record_copy
from toombos_cli.backup.directory.store import ArchiveInfo, list_archives, newest_known_good
from toombos_cli.backup.maintenance_reports import CopyReport, RemoteReport, RemoteRow
from toombos_cli.backup.observer import BackupObserver
from toombos_cli.base.errors import OperationError, ToombosError, UsageError
from toombos_cli.base.quoting import quoted


def look_at_remote(url: str, place: Place, now: datetime) -> RemoteReport | None:
    """Return what is at the remote, or None if no remote is configured. An unreachable one is reported in `problem`."""
    if not url:
        return None
    local = list_archives(place)
    try:
        _refuse_emptied(url, place)
        there = list_remote(url)
    except ToombosError as error:
        return RemoteReport(url=url, problem=str(error))
    here = {info.path.name for info in local}
    rows = sorted(there.values(), key=lambda one: (one.created_at, one.name), reverse=True)
    newest = newest_known_good(local, now)
    missing = [info for info in _owed(local) if not _is_there(info, there)]
    return RemoteReport(
        url=url,
        archives=tuple(
            RemoteRow(
                name=one.name, created_at=one.created_at.isoformat(), size_bytes=one.size_bytes, here=one.name in here
            )
            for one in rows
        ),
        missing=tuple(info.path.name for info in missing),
        newest_good_missing=newest in missing,
    )


def copy_to(url: str, archive: Path, place: Place, observer: BackupObserver) -> str:
    """Copy one archive and return the address of the copy. Raise OperationError, BadArchiveError, UsageError."""
    _refuse_emptied(url, place)
    sha256 = send(archive, url, observer)
    record_copy(place, url, archive.name, sha256)
    return address_of(url, archive.name)


def _refuse_emptied(url: str, place: Place) -> None:
    """Raise OperationError if a directory that has received copies is empty: most likely its disk is not mounted."""
    if not url.startswith("file:") or not copies_at(place, url):
        return
    directory = directory_of(url)
    if directory.is_dir() and not any(directory.iterdir()):
        raise OperationError(
            "the directory of the remote is empty, although archives were copied there",
            where=url,
            hint=f"mount its disk; if the disk is new: touch {quoted(str(directory / '.toombos'))}",
        )


def copy_missing(url: str, place: Place, observer: BackupObserver) -> CopyReport:
    """Copy every archive that is missing at the remote, newest first; an interrupted copy continues the next time.

    Raise UsageError if there is no remote, OperationError, BadArchiveError.
    """
    require_remote(url)
    _refuse_emptied(url, place)
    there = list_remote(url)
    missing: list[Path] = [info.path for info in _owed(list_archives(place)) if not _is_there(info, there)]
    return CopyReport(remote=url, copied=tuple(copy_to(url, path, place, observer) for path in missing))


def require_remote(url: str) -> None:
    """Raise UsageError if no remote is configured."""
    if not url:
        raise UsageError("no remote is configured", hint='[backup] remote = "s3://BUCKET/PREFIX"')


def _owed(local: tuple[ArchiveInfo, ...]) -> list[ArchiveInfo]:
    """Return the archives that should be at the remote; safety backups only undo a restore on this machine."""
    return [info for info in local if info.known_good and info.kind != "safety"]


def _is_there(info: ArchiveInfo, there: dict[str, RemoteArchive]) -> bool:
    found = there.get(info.path.name)
    return found is not None and found.is_checked and found.size_bytes == info.size_bytes
