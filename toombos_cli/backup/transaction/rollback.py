"""Rolls back or finishes an interrupted restore from its journal; may be killed at any point and repeated."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from toombos_cli.backup.archive.attributes import drop_other_attributes
from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.durable import disk_errors
from toombos_cli.backup.observer import BackupObserver
from toombos_cli.backup.postgres import Postgres
from toombos_cli.backup.reports import RecoverReport
from toombos_cli.backup.transaction.atomic_swap import swap_back
from toombos_cli.backup.transaction.journal import Journal, close_journal, load_journal, save_journal
from toombos_cli.backup.transaction.staging import apply_metadata
from toombos_cli.backup.tree_removal import remove_tree
from toombos_cli.base.directories import sync_directory
from toombos_cli.base.errors import OperationError
from toombos_cli.base.fixes import here
from toombos_cli.base.locks import hold_alone

SERVER_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """How an interrupted restore ended: with the old tree in place ("rolled back") or the new one ("finished")."""

    outcome: str
    stopped: tuple[str, ...]


def settle_restore(
    place: Place,
    observer: BackupObserver,
    postgres: Postgres | None = None,
    resume: Callable[[], tuple[str, ...]] = tuple,
) -> RecoverReport:
    """Roll back or finish an interrupted restore, if there is one. Raise LockedError, OperationError.

    `resume` then starts the services that a killed backup or restore had stopped, and returns them.
    """
    with hold_alone(place.lock, "recovery of a restore"):
        settled = settle_locked(place, observer, postgres)
        started = resume()
    return RecoverReport(
        outcome=settled.outcome if settled else None, stopped=settled.stopped if settled else (), started=started
    )


def settle_locked(place: Place, observer: BackupObserver, postgres: Postgres | None) -> Settled | None:
    """Do what settle_restore does, for a caller that holds the lock; return None if there is nothing to do."""
    with disk_errors("an interrupted restore could not be cleaned up", place.project):
        journal = load_journal(place)
        if journal is None:
            return None
        journal = as_the_server_decided(journal, postgres)
        outcomes = {"staging": "cleaned up: nothing had been changed", "committed": "finished"}
        if journal.state == "prepared":
            roll_back(journal, observer)
        clear(place, journal, observer)
        return Settled(outcome=outcomes.get(journal.state, "rolled back"), stopped=journal.stopped)


def as_the_server_decided(journal: Journal, postgres: Postgres | None) -> Journal:
    """Return the journal, as committed if it is prepared and the database server, which comes last, has committed."""
    if journal.state != "prepared" or journal.database_marker is None:
        return journal
    if postgres is None:
        raise OperationError(
            "the interrupted restore includes a PostgreSQL database, but DATABASE_URL names none",
            hint=f"DATABASE_URL=postgresql://... {here('restore', '--recover')}",
        )
    if not postgres.has_marker(journal.database_marker, SERVER_TIMEOUT_S):
        return journal
    postgres.drop_marker(SERVER_TIMEOUT_S)
    return msgspec.structs.replace(journal, state="committed")


def roll_back(journal: Journal, observer: BackupObserver) -> None:
    """Move the old content of every unit back, in reverse order."""
    for unit in reversed(journal.units):
        observer.step("roll back")
        swap_back(unit)
    sync_parents(journal)
    describe_staying(journal, restored=False)


def sync_parents(journal: Journal) -> None:
    """Make the names of all exchanged paths survive a power cut."""
    for directory in {os.path.dirname(unit.live) for unit in journal.units}:
        if os.path.isdir(directory):
            sync_directory(directory)


def describe_staying(journal: Journal, *, restored: bool) -> dict[bytes, dict[str, str]]:
    """Give the directories that stay in place the metadata of the archive, or their own back; deepest first.

    Return what could not be set, and why, for each path.
    """
    refused = {}
    for record in sorted(journal.staying, key=lambda one: one.path, reverse=True):
        if os.path.isdir(record.path):
            drop_other_attributes(record.path, record.before.xattrs if not restored else record.after.xattrs)
            refused[record.path] = apply_metadata(record.path, record.after if restored else record.before)
    return refused


def _set_aside(directory: bytes) -> list[str]:
    """Rename a staging directory to the name under which replaced files are kept; return it if it exists."""
    target = directory + b"-replaced"
    if os.path.lexists(directory):
        os.rename(directory, target)
    return [os.fsdecode(target)] if os.path.lexists(target) else []


def reopen(place: Place, journal: Journal) -> Journal:
    """Mark a committed restore that failed its health check as one to undo, for the next call too."""
    journal = msgspec.structs.replace(journal, state="prepared")
    save_journal(place, journal)
    return journal


def clear(place: Place, journal: Journal, observer: BackupObserver) -> tuple[str, ...]:
    """Remove the staging directories and close the journal; return where replaced files were kept.

    Replaced files that cannot be removed are kept too: they must not block the next restore.
    """
    kept = []
    for directory in journal.staging:
        observer.step("clean up")
        if journal.keep_replaced and journal.state == "committed":
            kept += _set_aside(directory)
            continue
        try:
            remove_tree(directory)
        except OSError:
            kept += _set_aside(directory)
    describe_staying(journal, restored=journal.state == "committed")
    observer.step("close journal")
    close_journal(place)
    return tuple(kept)
