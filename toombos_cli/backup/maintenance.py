"""Maintains existing archives: list, verify, pin, drill, and the status of recent backups."""

import os
import secrets
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from toombos_cli.backup.archive.encryption import NO_KEYS, Keys, is_encrypted, opened
from toombos_cli.backup.archive.format import DatabaseRecord
from toombos_cli.backup.archive.reader import Archive, verify_contents
from toombos_cli.backup.create import database_reports
from toombos_cli.backup.directory.catalogue import Drill, load_catalogue, save_catalogue, update_record
from toombos_cli.backup.directory.naming import checksum_path
from toombos_cli.backup.directory.ownership import refuse_foreign
from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.directory.store import (
    ArchiveInfo,
    find_archive,
    list_archives,
    newest_known_good,
    point_latest_good,
    utc_now,
)
from toombos_cli.backup.durable import disk_errors
from toombos_cli.backup.errors import BadArchiveError
from toombos_cli.backup.maintenance_reports import ArchiveRow, ListReport, StatusReport, VerifiedArchive, VerifyReport
from toombos_cli.backup.observer import BackupObserver
from toombos_cli.backup.postgres import DUMP_NAME, Postgres
from toombos_cli.backup.reports import DatabaseReport, DrillReport
from toombos_cli.backup.transaction.staging import StagingArea
from toombos_cli.backup.tree_removal import remove_tree
from toombos_cli.base.errors import OperationError, ToombosError
from toombos_cli.base.fixes import here
from toombos_cli.base.locks import hold_alone
from toombos_cli.base.results import Verdict
from toombos_cli.project.interruption import find_interruption
from toombos_cli.settings.backup_gaps import Gap


def list_all(place: Place) -> ListReport:
    """Return every archive, newest first, from the indexes only."""
    return ListReport(directory=str(place.directory), archives=tuple(map(_row, list_archives(place))))


def verify_archives(
    place: Place, asked: Sequence[Path], observer: BackupObserver, keys: Keys = NO_KEYS
) -> VerifyReport:
    """Verify the given archives, or all, in full, and record the outcome of those in the backup directory."""
    paths = [find_archive(place, path) for path in asked] or [info.path for info in list_archives(place)]
    if not paths and not place.directory.is_dir():  # no directory for a lock is created to look at nothing
        return VerifyReport(archives=())
    results = []
    with hold_alone(place.lock, "verify"), disk_errors("the outcome could not be recorded", place.directory):
        for path in paths:
            result = _verify_one(place, path, observer, keys)
            if path.parent == place.directory.resolve() and result.verdict is not Verdict.ERROR:
                outcome = "bad" if result.verdict is Verdict.FAIL else "good"
                update_record(
                    place.catalogue,
                    place.directory / path.name,
                    outcome=outcome,
                    complete=result.complete,
                    reason=result.detail if outcome == "bad" else "",
                    checked_at=utc_now().isoformat(),
                )
            results.append(result)
        if place.directory.is_dir():
            point_latest_good(place, utc_now())
    return VerifyReport(archives=tuple(results))


def _verify_one(place: Place, path: Path, observer: BackupObserver, keys: Keys) -> VerifiedArchive:
    started = time.monotonic()
    detail, verdict, files, complete = "", Verdict.PASS, 0, False
    databases: tuple[DatabaseReport, ...] = ()
    try:
        if is_encrypted(path) and not keys.can_open and checksum_path(path).exists():
            _check_sidecar(path)
            recorded = next((info for info in list_archives(place) if info.path.name == path.name), None)
            if recorded is not None and recorded.verified:
                return _unopened(path, recorded, started)
        with opened(path, keys, place) as plain, Archive(plain, known_as=path) as archive:
            verify_contents(archive, observer)
            _check_sidecar(path)
            files, databases = archive.tail.files, database_reports(archive.manifest)
            complete = archive.tail.complete and files > 0
            if not files:
                detail, verdict = "it is intact but contains no files", Verdict.WARN
    except BadArchiveError as error:
        detail, verdict = str(error), Verdict.FAIL
    except ToombosError as error:
        detail, verdict = str(error), Verdict.ERROR
    return VerifiedArchive(
        path=str(path),
        verdict=verdict,
        detail=detail,
        files=files,
        databases=databases,
        complete=complete,
        duration_s=round(time.monotonic() - started, 3),
    )


def _unopened(path: Path, recorded: ArchiveInfo, started: float) -> VerifiedArchive:
    """Return the result for an archive whose bytes are those written here, but that no key here opens."""
    return VerifiedArchive(
        path=str(path),
        verdict=Verdict.PASS,
        detail="the bytes are those that were verified and encrypted here; not decrypted, as no key here opens them",
        files=0,
        databases=(),
        complete=recorded.known_good,
        duration_s=round(time.monotonic() - started, 3),
    )


def _check_sidecar(path: Path) -> None:
    """Raise BadArchiveError if the archive has a checksum file that does not match; the file is optional."""
    import hashlib

    try:
        said = checksum_path(path).read_text().split()[0]
    except (FileNotFoundError, IndexError, UnicodeDecodeError):
        return
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != said:
            raise BadArchiveError("the checksum file does not match the archive", where=str(checksum_path(path)))


def pin_archive(place: Place, asked: Path, *, pinned: bool) -> ListReport:
    """Pin an archive, which protects it from pruning, or unpin it."""
    path = find_archive(place, asked)
    if path.parent != place.directory.resolve():
        message = "only archives in the backup directory can be pinned"
        raise OperationError(message, where=str(path), hint=here("backup", "list"))
    with hold_alone(place.lock, "pin"), disk_errors("the pin could not be written", place.catalogue):
        update_record(place.catalogue, place.directory / path.name, pinned=pinned)
    rows = tuple(_row(info) for info in list_archives(place) if info.path.name == path.name)
    return ListReport(directory=str(place.directory), archives=rows)


def backup_status(place: Place, now: datetime, *, max_age_h: float, gaps: tuple[Gap, ...] = ()) -> StatusReport:
    """Report whether there is a recent good backup; `gaps` are those of a backup made now.

    Raise RefusedError if the directory is another project's.
    """
    refuse_foreign(place)
    archives = list_archives(place)
    newest = newest_known_good(archives, now)
    age_h = (now - newest.created_at).total_seconds() / 3600 if newest else None
    drill = load_catalogue(place.catalogue).drill
    interruption = find_interruption(place.project)
    ahead = newest is not None and newest.is_dated_ahead(now)
    return StatusReport(
        newest_good=str(newest.path) if newest else None,
        age_h=age_h,
        max_age_h=max_age_h,
        archives=len(archives),
        bad=tuple(str(info.path) for info in archives if info.problem),
        total_bytes=sum(info.size_bytes for info in archives),
        last_drill_at=drill.at if drill else None,
        restore_interrupted=place.journal.exists(),
        clock_was_ahead=ahead,
        gaps=gaps,
        left_undone=interruption.messages if interruption else (),
    )


def run_drill(
    place: Place,
    asked: Path | None,
    observer: BackupObserver,
    keys: Keys = NO_KEYS,
    *,
    postgres: Postgres | None = None,
    timeout_s: float = 600.0,
) -> DrillReport:
    """Restore an archive, by default the newest good one, into a scratch directory, check it, and remove it.

    The dump of a database is restored into a scratch database on the server of `postgres`; the report says if not.
    Raise BadArchiveError if the archive cannot be restored.
    """
    started = time.monotonic()
    path = find_archive(place, asked) if asked else _newest(place)
    with hold_alone(place.lock, "drill"), disk_errors("the drill failed", place.directory):
        place.create()  # the archive may have come from another machine
        scratch = place.directory / f".scratch-{secrets.token_hex(4)}"
        scratch.mkdir(mode=0o700)
        try:
            with opened(path, keys, place) as plain, Archive(plain, known_as=path) as archive:
                files, databases = archive.tail.files, database_reports(archive.manifest)
                tops = {entry.name for entry in archive.manifest.entries if b"/" not in entry.name}
                root = bytes(scratch)
                stage = StagingArea(archive, {top: root + b"/" + top for top in tops}, observer)
                stage.unpack()
                stage.finish_directories()
                dump = Path(os.fsdecode(root + b"/" + DUMP_NAME))
                record = next((one.database for one in archive.manifest.entries if one.name == DUMP_NAME), None)
                not_restored = _try_dump(postgres, dump, record, observer, timeout_s) if record else ""
        finally:
            remove_tree(scratch)
        duration_s = round(time.monotonic() - started, 3)
        report = DrillReport(
            archive=str(path), files=files, databases=databases, duration_s=duration_s, not_restored=not_restored
        )
        if report.verdict is Verdict.PASS:
            drill = Drill(archive=path.name, at=utc_now().isoformat(), duration_s=duration_s)
            save_catalogue(place.catalogue, msgspec.structs.replace(load_catalogue(place.catalogue), drill=drill))
    return report


def _try_dump(
    postgres: Postgres | None, dump: Path, record: DatabaseRecord, observer: BackupObserver, timeout_s: float
) -> str:
    """Restore a dump into a scratch database; return why that was not possible, or ""."""
    if postgres is None:
        return "the settings name no PostgreSQL database to try it on"
    observer.step("restore database")
    try:
        postgres.try_restore(dump, record, timeout_s)
    except ToombosError as error:
        return str(error)
    return ""


def _newest(place: Place) -> Path:
    newest = newest_known_good(list_archives(place), utc_now())
    if newest is None:
        raise OperationError("there is no good archive", where=str(place.directory), hint=here("backup"))
    return newest.path


def _row(info: ArchiveInfo) -> ArchiveRow:
    return ArchiveRow(
        path=str(info.path),
        created_at=info.created_at.isoformat(),
        size_bytes=info.size_bytes,
        files=info.files,
        data_bytes=info.data_bytes,
        kind=info.kind,
        verified=info.verified,
        known_good=info.known_good,
        pinned=info.pinned,
        encrypted=info.encrypted,
        problem=info.problem,
    )
