"""`toombos backup create`: creates an archive, alerts about damaged databases, copies it, and prunes old ones."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Literal

from toombos_cli.backup.create import BackupPlan, create_locked, recall_holdings
from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.directory.prune import prune_archives
from toombos_cli.backup.directory.store import utc_now
from toombos_cli.backup.hooks import Hook, backup_hook, service_hook
from toombos_cli.backup.living.saving import Pause, ServicePolicy
from toombos_cli.backup.observer import BackupObserver
from toombos_cli.backup.reports import CreateReport
from toombos_cli.backup.scope import find_stores, make_keys, make_place, make_scope, redis_passwords
from toombos_cli.backup.transaction.journal import refuse_open_journal
from toombos_cli.base.errors import ToombosError, UsageError
from toombos_cli.base.fixes import here, toombos
from toombos_cli.base.locks import hold_alone
from toombos_cli.base.spelling import did_you_mean
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.escalation import Trouble, severity_of
from toombos_cli.project.alert_spool import AlertEvent, emit, open_keys
from toombos_cli.project.backup_coverage import find_gaps
from toombos_cli.project.interruption import load_interruption, record_after
from toombos_cli.project.state import read_state
from toombos_cli.settings.backup_gaps import Gap


def run_backup(
    manifest: Manifest,
    observer: BackupObserver,
    *,
    emergency: bool = False,
    pin: bool = False,
    remote: str = "",
    prune: bool = True,
    accept: Collection[str] = (),
    pause: Pause | None = None,
) -> CreateReport:
    """Create an archive and copy it to `remote` or the manifest's remote; the report shows if the copy failed.

    `accept` names what may be empty or gone although the last good archive has it; UsageError for other names.
    `emergency` includes all logs, tolerates a broken `.env`, pins the archive and prunes nothing. `pause` stops the
    services that the manifest lets a backup stop; without it, none is stopped. Raise as `create_backup` does, and
    OperationError if the program `before` fails, except in an emergency.
    """
    table, place = manifest.backup, make_place(manifest)
    with hold_alone(place.lock, "backup"):
        refuse_open_journal(place)
        resumed, resume_problem = _resumed(manifest, pause, observer)
        plan = _plan(manifest, accept, pause, emergency=emergency, pin=pin)
        report = replace(_between_hooks(manifest, plan, observer), resumed=resumed, resume_problem=resume_problem)
    _alert_of_corruption(manifest.project, report)
    if report.archive and (remote or table.remote):
        report = _copied(report, remote or table.remote, place, observer)
    if report.known_good and prune and not emergency:
        prune_archives(place, table.retention, utc_now())
    return report


def _plan(
    manifest: Manifest, accept: Collection[str], pause: Pause | None, *, emergency: bool, pin: bool
) -> BackupPlan:
    table, place = manifest.backup, make_place(manifest)
    stores = find_stores(manifest, lenient=emergency)
    recall_holdings(place)
    return BackupPlan(
        place=place,
        scope=make_scope(manifest, stores, all_logs=emergency),
        kind="emergency" if emergency else "regular",
        pinned=True if pin or emergency else None,
        snapshot_deadline_s=table.snapshot_timeout_s,
        postgres=stores.postgres,
        unsaved=stores.unsaved,
        gaps=_accepted(find_gaps(manifest, stores.databases), accept),
        keys=make_keys(manifest),
        policy=_policy(manifest, pause),
        hooks={} if emergency else _hooks(manifest),
    )


def _accepted(gaps: tuple[Gap, ...], names: Collection[str]) -> tuple[Gap, ...]:
    """Return the gaps without those that the caller accepts: only what was in the last good archive can be."""
    acceptable = {gap.path for gap in gaps if gap.files_before}
    for name in names:
        if name not in acceptable:
            raise UsageError(
                f"nothing of the last good archive is missing in {name!r}",
                hint=did_you_mean(name, acceptable, here("backup", "status")),
            )
    return tuple(gap for gap in gaps if gap.path not in names)


def _policy(manifest: Manifest, pause: Pause | None) -> ServicePolicy:
    state = read_state(manifest.project)
    services = manifest.services.values()
    return ServicePolicy(
        owners={service.pid: name for name, service in state.services.items() if service.pid} if state else {},
        stopped=frozenset(service.name for service in services if service.backup.stop),
        commanded=frozenset(service.name for service in services if service.backup.command),
        monitoring=frozenset(service.name for service in services if service.role == "monitoring"),
        pause=pause,
        passwords=lambda: redis_passwords(manifest),
    )


def _hooks(manifest: Manifest) -> dict[str, Hook]:
    return {name: service_hook(manifest, one) for name, one in manifest.services.items() if one.backup.command}


def _resumed(manifest: Manifest, pause: Pause | None, observer: BackupObserver) -> tuple[tuple[str, ...], str]:
    """Put right what a killed backup or restore has left; return the services that run again, and what failed."""
    left = load_interruption(manifest.project)
    problem = _after(manifest, observer) if left.after else None
    try:
        return pause.resume() if pause is not None and left.stopped else (), str(problem or "")
    except ToombosError as error:
        return (), str(error)


def _between_hooks(manifest: Manifest, plan: BackupPlan, observer: BackupObserver) -> CreateReport:
    """Create the archive between `[backup] before` and `after`; `after` runs in any case, as it may undo `before`."""
    try:
        report = create_locked(_prepared(manifest, plan, observer), observer)
    except ToombosError as error:
        if problem := _after(manifest, observer):
            error.problems += problem.problems
        raise
    except BaseException:
        _after(manifest, observer)
        raise
    problem = _after(manifest, observer)
    return replace(report, after_problem=str(problem or ""))


def _prepared(manifest: Manifest, plan: BackupPlan, observer: BackupObserver) -> BackupPlan:
    """Run `before` and return the plan; if it failed, raise, or in an emergency return a plan that says so."""
    if manifest.backup.after:
        record_after(manifest.project, is_due=True)
    problem = _run_hook(manifest, "before", observer)
    if problem is None:
        return plan
    if plan.kind != "emergency":
        raise problem
    return replace(plan, unsaved={**plan.unsaved, b"[backup] before": str(problem)})


def _after(manifest: Manifest, observer: BackupObserver) -> ToombosError | None:
    problem = _run_hook(manifest, "after", observer)
    if manifest.backup.after:
        record_after(manifest.project, is_due=False)
    return problem


def _run_hook(manifest: Manifest, key: Literal["before", "after"], observer: BackupObserver) -> ToombosError | None:
    """Run a program of the `[backup]` table, if there is one; return why it failed, or None."""
    argv: tuple[str, ...] = getattr(manifest.backup, key)
    if not argv:
        return None
    observer.step(key)
    try:
        backup_hook(manifest, key, argv).run(manifest.backup.snapshot_timeout_s)
    except ToombosError as error:
        return error
    return None


def _copied(report: CreateReport, url: str, place: Place, observer: BackupObserver) -> CreateReport:
    """Return the report with the address of the copy, or with the reason why it failed; the archive is valid anyway."""
    from toombos_cli.backup.directory.remote_sync import copy_to

    try:
        return replace(report, remote=copy_to(url, Path(report.archive), place, observer))
    except ToombosError as error:
        return replace(report, remote_problem=str(error), remote_hint=error.problems[0].hint or "")


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
