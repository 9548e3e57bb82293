"""Moves archives that the retention does not keep to the trash, and deletes old ones from the trash."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from toombos_cli.backup.directory.catalogue import load_catalogue, save_catalogue
from toombos_cli.backup.directory.naming import checksum_path
from toombos_cli.backup.directory.ownership import refuse_foreign
from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.directory.retention import Decision, decide
from toombos_cli.backup.directory.store import list_archives, newest_known_good, point_latest_good
from toombos_cli.backup.durable import disk_errors
from toombos_cli.backup.maintenance_reports import PruneDecision, PruneReport
from toombos_cli.backup.tree_removal import remove_tree
from toombos_cli.base.directories import make_private_directory, sync_directory
from toombos_cli.base.errors import RefusedError
from toombos_cli.base.fixes import here
from toombos_cli.base.locks import hold_alone
from toombos_cli.manifest.tables.backup import Retention

_STAMP = "%Y%m%dT%H%M%SZ"


def prune_archives(place: Place, policy: Retention, now: datetime, *, preview: bool = False) -> PruneReport:
    """Prune the archives, or with `preview` only report what would go.

    Raise RefusedError if no good archive would remain or the policy keeps nothing; LockedError, OperationError.
    """
    with hold_alone(place.lock, "prune"), disk_errors("the archives could not be pruned", place.directory):
        return prune_locked(place, policy, now, preview=preview)


def prune_locked(place: Place, policy: Retention, now: datetime, *, preview: bool = False) -> PruneReport:
    """Prune as prune_archives does, for a caller that holds the lock."""
    refuse_foreign(place)
    archives = list_archives(place)
    decisions = decide(archives, policy, now)
    going = {decision.path for decision in decisions if not decision.keep}
    staying = [info for info in archives if info.path not in going]
    if going and newest_known_good(staying, now) is None:
        raise RefusedError("no good archive would remain", where=str(place.directory), hint=here("backup", "verify"))
    freed = sum(info.size_bytes for info in archives if info.path in going)
    emptied: tuple[str, ...] = ()
    if not preview:
        _move_to_trash(place, sorted(going), now)
        emptied = _empty_trash(place, timedelta(days=policy.trash_days), now)
        point_latest_good(place, now)
    return PruneReport(
        preview=preview, decisions=_rows(decisions), removed_bytes=freed, trash=str(place.trash), emptied=emptied
    )


def _rows(decisions: Sequence[Decision]) -> tuple[PruneDecision, ...]:
    return tuple(PruneDecision(path=str(one.path), keep=one.keep, reason=", ".join(one.reasons)) for one in decisions)


def _move_to_trash(place: Place, going: Sequence[Path], now: datetime) -> None:
    if not going:
        return
    bin_of_now = place.trash / now.astimezone(UTC).strftime(_STAMP)
    make_private_directory(bin_of_now)
    for path in going:
        path.rename(bin_of_now / path.name)
        if checksum_path(path).exists():
            checksum_path(path).rename(bin_of_now / checksum_path(path).name)
    sync_directory(bin_of_now)
    sync_directory(place.directory)
    catalogue = load_catalogue(place.catalogue)
    names = {path.name for path in going}
    records = {name: record for name, record in catalogue.records.items() if name not in names}
    save_catalogue(place.catalogue, msgspec.structs.replace(catalogue, records=records))


def _empty_trash(place: Place, kept_for: timedelta, now: datetime) -> tuple[str, ...]:
    """Remove the bins that are older than the policy's trash_days, by the time in their names; return their names."""
    if not place.trash.is_dir():
        return ()
    emptied = []
    for name in sorted(os.listdir(place.trash)):
        try:
            thrown_away = datetime.strptime(name, _STAMP).replace(tzinfo=UTC)
        except ValueError:
            continue
        if now - thrown_away > kept_for:
            remove_tree(place.trash / name)
            emptied.append(name)
    return tuple(emptied)
