"""Restores the requested archive, or the newest good one; each attempt is all or nothing."""

import time
from collections.abc import Sequence
from pathlib import Path

from toombos_cli.backup.archive.encryption import opened
from toombos_cli.backup.archive.reader import Archive
from toombos_cli.backup.create import database_reports
from toombos_cli.backup.directory.ownership import refuse_foreign
from toombos_cli.backup.directory.store import list_archives, restore_candidates, utc_now
from toombos_cli.backup.errors import BadArchiveError
from toombos_cli.backup.observer import BackupObserver
from toombos_cli.backup.reports import RestoreReport, Skipped
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
    )
