"""Restores the requested archive, or the newest good one; each attempt is all or nothing."""

import os
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from toombos_cli.backup.archive.encryption import opened
from toombos_cli.backup.archive.reader import Archive
from toombos_cli.backup.archive.safety import is_within
from toombos_cli.backup.create import database_reports
from toombos_cli.backup.directory.ownership import refuse_foreign
from toombos_cli.backup.directory.store import ArchiveInfo, list_archives, restore_candidates, utc_now
from toombos_cli.backup.errors import BadArchiveError
from toombos_cli.backup.observer import BackupObserver
from toombos_cli.backup.reports import ChangedRows, RestoreReport, Skipped
from toombos_cli.backup.restore_request import RestoreRequest, Services
from toombos_cli.backup.transaction.attempt import Attempt, RestoredArchive
from toombos_cli.backup.transaction.journal import refuse_open_journal
from toombos_cli.backup.transaction.rollback import settle_locked
from toombos_cli.base.errors import OperationError
from toombos_cli.base.fixes import here
from toombos_cli.base.locks import hold_alone
from toombos_cli.base.text import printable


def restore(request: RestoreRequest, services: Services, observer: BackupObserver) -> RestoreReport:
    """Restore an archive, or with `preview` only report what would change.

    Raise BadArchiveError before anything is touched, RefusedError, LockedError, OperationError. After an error the old
    tree is in place, and what was stopped is running again if possible.
    """
    if request.preview:
        refuse_open_journal(request.place)
        return _first_good(request, None, services, observer)
    with hold_alone(request.place.lock, "restore"):
        settled = settle_locked(request.place, observer, request.postgres)
        return _first_good(request, settled.outcome if settled else None, services, observer)


def _first_good(
    request: RestoreRequest, recovered: str | None, services: Services, observer: BackupObserver
) -> RestoreReport:
    started = time.monotonic()
    passed_over: list[Skipped] = []
    for path in _candidates(request):
        try:
            with opened(path, request.keys, request.place) as plain, Archive(plain, known_as=path) as archive:
                outcome = Attempt(request, archive, services, observer).run()
        except BadArchiveError as error:
            if request.archive is not None:
                raise
            passed_over.append(Skipped(path=str(path), reason=str(error)))
            continue
        return _report(request, archive, outcome, passed_over, recovered, time.monotonic() - started)
    raise OperationError(
        "there is no good archive to restore",
        where=str(request.place.directory),
        hint=here("backup", "list"),
    )


def _candidates(request: RestoreRequest) -> Sequence[Path]:
    if request.archive is not None:
        return (request.archive,)
    refuse_foreign(request.place)
    return [info.path for info in restore_candidates(list_archives(request.place), utc_now())]


def _not_tried(request: RestoreRequest, chosen: Path) -> tuple[Skipped, ...]:
    """Return the archives that are newer than the one that `--latest-good` takes, each with the reason."""
    if request.archive is not None:
        return ()
    now = utc_now()
    archives = list_archives(request.place)
    tried = [info.path for info in restore_candidates(archives, now)]
    before = tried[: tried.index(chosen)] if chosen in tried else []
    made_at = next((info.created_at for info in archives if info.path == chosen), now)
    return tuple(
        Skipped(path=str(info.path), reason=_why_not(info, now))
        for info in archives
        if info.created_at > made_at and info.path not in (chosen, *before)
    )


def _why_not(info: ArchiveInfo, now: datetime) -> str:
    """Return why `--latest-good` does not take an archive that is newer than the one it takes."""
    if info.kind == "safety":
        return "a safety backup: the state that a restore replaced"
    if info.problem:
        return info.problem
    if info.kind == "emergency":
        return "an emergency backup: the state of a system in trouble"
    return "made while the clock was ahead" if info.is_dated_ahead(now) else "not needed"


def _roots(request: RestoreRequest, archive: Archive, not_asked: Sequence[str]) -> tuple[str, ...]:
    """Return what a restore brings back: what `--only` names, or the roots of the archive."""
    roots = request.only or tuple(root.path for root in archive.manifest.header.roots)
    return tuple(printable(os.fsencode(root)) for root in roots if root not in not_asked)


def _report(
    request: RestoreRequest,
    archive: Archive,
    outcome: RestoredArchive,
    passed_over: Sequence[Skipped],
    recovered: str | None,
    duration_s: float,
) -> RestoreReport:
    return RestoreReport(
        restored_from=str(archive.path),
        made_at=archive.manifest.header.created_at,
        archive_kind=archive.tail.kind,
        size_bytes=archive.path.stat().st_size,
        files=archive.tail.files,
        roots=_roots(request, archive, tuple(map(printable, outcome.not_asked))),
        not_tried=_not_tried(request, archive.path),
        safety_backup=outcome.safety.archive if outcome.safety else None,
        preview=request.preview,
        added=tuple(map(printable, outcome.difference.added)),
        changed=tuple(map(printable, outcome.difference.changed)),
        removed=tuple(map(printable, outcome.difference.removed)),
        kept=tuple(map(printable, outcome.kept)),
        started=outcome.started,
        stopped=outcome.stopped,
        databases=database_reports(archive.manifest),
        passed_over=tuple(passed_over),
        replaced_at=", ".join(outcome.replaced_at) or None,
        recovered=recovered,
        duration_s=round(duration_s, 3),
        not_set=outcome.not_set,
        not_asked=tuple(map(printable, outcome.not_asked)),
        rows=_changed_rows(request, archive, outcome),
    )


def _changed_rows(request: RestoreRequest, archive: Archive, outcome: RestoredArchive) -> tuple[ChangedRows, ...]:
    """Return the tables whose number of rows differs between the safety backup and the archive."""
    before = {one.path: one.tables for one in outcome.safety.databases} if outcome.safety else {}
    found = []
    for one in database_reports(archive.manifest):
        restored = not request.only or any(is_within(one.path.encode(), only.encode()) for only in request.only)
        if one.path in before and restored:
            old = before[one.path]
            changed = [name for name in sorted({*old, *one.tables}) if old.get(name) != one.tables.get(name)]
            found += [
                ChangedRows(database=one.path, table=name, before=old.get(name), after=one.tables.get(name))
                for name in changed
            ]
    return tuple(found)
