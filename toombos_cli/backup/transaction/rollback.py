"""Rolls an interrupted restore back, or finishes it, from its journal; may be killed at any point and repeated."""

import os
from dataclasses import dataclass

import msgspec

from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.durable import disk_errors
from toombos_cli.backup.observer import BackupObserver
from toombos_cli.backup.postgres import Postgres
from toombos_cli.backup.reports import RecoverReport
from toombos_cli.backup.transaction.atomic_swap import swap_back
from toombos_cli.backup.transaction.journal import Journal, close_journal, load_journal, save_journal
from toombos_cli.backup.transaction.staging import remove_tree
from toombos_cli.base.directories import sync_directory
from toombos_cli.base.errors import OperationError
from toombos_cli.base.locks import hold_alone

SERVER_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of a restore: the old tree stands again ("rolled back"), or the new one does ("finished")."""

    outcome: str
    stopped: tuple[str, ...]


def settle_restore(place: Place, observer: BackupObserver, postgres: Postgres | None = None) -> RecoverReport:
    """Rolls back or finishes an interrupted restore, if there is one. Raises LockedError, OperationError."""
    with hold_alone(place.lock, "recovery of a restore"):
        settled = settle_locked(place, observer, postgres)
    return RecoverReport(outcome=settled.outcome if settled else None, stopped=settled.stopped if settled else ())


def settle_locked(place: Place, observer: BackupObserver, postgres: Postgres | None) -> Settled | None:
    """As settle_restore, for a caller that holds the lock."""
    with disk_errors("an interrupted restore could not be cleared up", place.project):
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
    """The journal; committed when it was prepared and the database server has committed, which came after all else."""
    if journal.state != "prepared" or journal.database_marker is None:
        return journal
    if postgres is None:
        raise OperationError(
            "the interrupted restore was also one of a PostgreSQL database, and DATABASE_URL names none",
            hint="DATABASE_URL=postgresql://... toombos restore --recover",
        )
    if not postgres.has_marker(journal.database_marker, SERVER_TIMEOUT_S):
        return journal
    postgres.drop_marker(SERVER_TIMEOUT_S)
    return msgspec.structs.replace(journal, state="committed")


def roll_back(journal: Journal, observer: BackupObserver) -> None:
    """Puts the old content of every unit back, in reverse order."""
    for unit in reversed(journal.units):
        observer.step("roll back")
        swap_back(unit)
        sync_directory(os.path.dirname(unit.live))


def reopen(place: Place, journal: Journal) -> Journal:
    """A committed restore that did not prove itself is to be undone, from now on also by the next call."""
    journal = msgspec.structs.replace(journal, state="prepared")
    save_journal(place, journal)
    return journal


def clear(place: Place, journal: Journal, observer: BackupObserver) -> tuple[str, ...]:
    """Removes the staging directories and closes the journal; returns where replaced files were kept."""
    kept = []
    for directory in journal.staging:
        observer.step("clean up")
        if journal.keep_replaced and journal.state == "committed":
            target = directory + b"-replaced"
            if os.path.lexists(directory):
                os.rename(directory, target)
            kept.append(os.fsdecode(target))
        else:
            remove_tree(directory)
    observer.step("close journal")
    close_journal(place)
    return tuple(kept)
