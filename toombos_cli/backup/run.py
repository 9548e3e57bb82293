"""`toombos backup create`: creates an archive, alerts about damaged databases, copies it, and prunes old ones."""

from dataclasses import replace
from pathlib import Path

from toombos_cli.backup.create import BackupPlan, create_backup
from toombos_cli.backup.directory.prune import prune_archives
from toombos_cli.backup.directory.store import utc_now
from toombos_cli.backup.observer import BackupObserver
from toombos_cli.backup.reports import CreateReport
from toombos_cli.backup.scope import find_stores, make_keys, make_place, make_scope
from toombos_cli.base.errors import ToombosError
from toombos_cli.base.fixes import toombos
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.escalation import Trouble, severity_of
from toombos_cli.project.alert_spool import AlertEvent, emit, open_keys


def run_backup(
    manifest: Manifest,
    observer: BackupObserver,
    *,
    emergency: bool = False,
    pin: bool = False,
    remote: str = "",
    prune: bool = True,
) -> CreateReport:
    """Create an archive and copy it to `remote` or the manifest's remote; the report shows if the copy failed.

    `emergency` includes all logs, tolerates a broken `.env`, pins the archive and prunes nothing. Raise as
    `create_backup` does.
    """
    table = manifest.backup
    stores = find_stores(manifest, lenient=emergency)
    plan = BackupPlan(
        place=make_place(manifest),
        scope=make_scope(manifest, stores, all_logs=emergency),
        kind="emergency" if emergency else "regular",
        pinned=True if pin or emergency else None,
        snapshot_deadline_s=table.snapshot_timeout_s,
        postgres=stores.postgres,
        unsaved=stores.unsaved,
        keys=make_keys(manifest),
    )
    report = create_backup(plan, observer)
    _alert_of_corruption(manifest.project, report)
    if report.archive and (remote or table.remote):
        report = _copied(report, remote or table.remote, observer)
    if report.known_good and prune and not emergency:
        prune_archives(plan.place, table.retention, utc_now())
    return report


def _copied(report: CreateReport, url: str, observer: BackupObserver) -> CreateReport:
    """Return the report with the address of the copy, or with the reason why it failed; the archive is valid anyway."""
    from toombos_cli.backup.directory.remote import send

    try:
        return replace(report, remote=send(Path(report.archive), url, observer))
    except ToombosError as error:
        return replace(report, remote_problem=str(error))


def _alert_of_corruption(project: Path, report: CreateReport) -> None:
    """Raise an alert for each damaged database, and resolve it for each that is sound again."""
    known = open_keys(project)
    for database in report.databases:
        key = f"corruption:{database.path}"
        if database.is_sound and key not in known:
            continue
        event = AlertEvent(
            key=key,
            source="backup",
            severity=severity_of(Trouble.DATA_CORRUPTION),
            title=f"{database.path} is damaged",
            body=f"{database.integrity}\n{toombos(project, 'restore', '--latest-good')}",
            resolved=database.is_sound,
        )
        emit(project, event)
