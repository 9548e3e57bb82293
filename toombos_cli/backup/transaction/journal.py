"""The journal of a restore: what the next call needs to finish or undo a restore that was killed.

STAGING: nothing live was touched. PREPARED: units may have been swapped and must be swapped back. COMMITTED: all
were swapped, only cleaning up is left. The journal is replaced atomically, so it is always in one of these states.
"""

from typing import Literal

import msgspec

from toombos_cli.backup.archive.format import Entry
from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.transaction.atomic_swap import SwapUnit
from toombos_cli.base.directories import sync_directory
from toombos_cli.base.errors import OperationError, RefusedError
from toombos_cli.base.files import replace_file
from toombos_cli.base.fixes import here
from toombos_cli.base.own_records import encode_own, read_own
from toombos_cli.base.quoting import quoted
from toombos_cli.base.untrusted import UntrustedError

State = Literal["staging", "prepared", "committed"]


class StayingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The owner, mode, times and attributes of a directory that stays in place, before the restore and after it."""

    path: bytes
    before: Entry
    after: Entry


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """One restore in progress. `stopped` are the services that it stopped and has not started again."""

    state: State
    archive: str
    staging: tuple[bytes, ...]
    units: tuple[SwapUnit, ...] = ()
    staying: tuple[StayingRecord, ...] = ()
    safety_backup: str | None = None
    keep_replaced: bool = False
    stopped: tuple[str, ...] = ()
    database_marker: str | None = None


def load_journal(place: Place) -> Journal | None:
    """Return the open journal, or None if no restore was interrupted."""
    try:
        return read_own(place.journal, Journal)
    except FileNotFoundError:
        return None
    except UntrustedError as error:
        raise OperationError(
            f"the journal of an interrupted restore cannot be read: {error}",
            where=str(place.journal),
            hint=f"ls -d {quoted(place.project)}/.toombos-restore-*",
        ) from None


def save_journal(place: Place, journal: Journal) -> None:
    """Write the journal durably: it is what a kill from now on leaves behind."""
    replace_file(place.journal, msgspec.json.format(encode_own(journal), indent=1), durable=True)


def close_journal(place: Place) -> None:
    """Remove the journal: the restore is over."""
    place.journal.unlink(missing_ok=True)
    sync_directory(place.journal.parent)


def refuse_open_journal(place: Place) -> None:
    """Raise RefusedError if an interrupted restore may have left the tree half old and half new."""
    journal = load_journal(place)
    if journal is not None and journal.state == "prepared":
        raise RefusedError(
            "a restore was interrupted: the tree may be half old, half new",
            where=str(place.journal),
            hint=here("restore", "--recover"),
        )
