"""One attempt to restore one archive that leaves either the complete old tree or the complete new one.

Unpack and check beside the live tree; stop the services; safety backup; journal; exchange; journal; start; health.
"""

import contextlib
import os
import secrets
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import msgspec

from toombos_cli.backup.archive.encryption import NO_KEYS, opened
from toombos_cli.backup.archive.format import Root
from toombos_cli.backup.archive.reader import Archive, verify_contents
from toombos_cli.backup.archive.safety import is_within
from toombos_cli.backup.create import BackupPlan, create_locked
from toombos_cli.backup.durable import disk_errors
from toombos_cli.backup.errors import BadArchiveError
from toombos_cli.backup.inode_flags import flags_of
from toombos_cli.backup.living.saving import keep_unsaved
from toombos_cli.backup.observer import BackupObserver
from toombos_cli.backup.postgres import DUMP_NAME, DUMP_ROOT
from toombos_cli.backup.reports import CreateReport, NotSet
from toombos_cli.backup.restore_request import RestoreRequest, Services
from toombos_cli.backup.selection import BackupSelection, Scope, select
from toombos_cli.backup.transaction import diff
from toombos_cli.backup.transaction.atomic_swap import SwapUnit, identity, swap
from toombos_cli.backup.transaction.carry_over import Kept, keep_left_out
from toombos_cli.backup.transaction.diff import Difference
from toombos_cli.backup.transaction.journal import Journal, StayingRecord, save_journal
from toombos_cli.backup.transaction.open_files import find_holders
from toombos_cli.backup.transaction.rollback import (
    as_the_server_decided,
    clear,
    describe_staying,
    reopen,
    roll_back,
    sync_parents,
)
from toombos_cli.backup.transaction.staging import StagingArea, entry_of, refused_bits
from toombos_cli.backup.transaction.targets import StayingDirectory, Targets, make_staging, plan_targets
from toombos_cli.base.directories import sync_directory
from toombos_cli.base.errors import OperationError, RefusedError, ToombosError
from toombos_cli.base.fixes import here
from toombos_cli.base.quoting import quoted
from toombos_cli.base.text import printable, size

_ROOM_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredArchive:
    """The result of restoring one archive."""

    difference: Difference
    kept: tuple[bytes, ...] = ()
    safety: CreateReport | None = None
    started: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    replaced_at: tuple[str, ...] = ()
    not_set: tuple[NotSet, ...] = ()
    not_asked: tuple[bytes, ...] = ()


class Attempt:
    """One attempt with one archive whose tail and names are valid."""

    def __init__(self, request: RestoreRequest, archive: Archive, services: Services, observer: BackupObserver) -> None:
        self._request, self._archive, self._services, self._observer = request, archive, services, observer
        self._place = request.place
        self._token = secrets.token_hex(4)
        with disk_errors("the live tree cannot be read", self._place.project):
            self._targets = self._plan()
        self._stage = StagingArea(archive, self._targets.places, observer)
        self._kept_extensions: tuple[str, ...] = ()
        self._journal = Journal(state="staging", archive=str(archive.path), staging=self._targets.staging)

    def run(self) -> RestoredArchive:
        self._refuse_immovable()
        if self._request.preview:
            with disk_errors("the preview failed", self._place.project):
                return self._preview()
        with disk_errors("the restore failed", self._place.project):
            try:
                self._unpack()
                outcome = self._replace()
            except BaseException as error:
                self._undo(error)
                raise
        return self._prove(outcome)

    def _plan(self) -> Targets:
        request = self._request
        return plan_targets(
            self._archive,
            self._place.project,
            request.only,
            self._token,
            known=request.known,
            left_out=self._left_out,
        )

    @property
    def _not_writable(self) -> tuple[NotSet, ...]:
        reason = "it is mounted read-only"
        return tuple(NotSet(path=printable(n), what="the content", reason=reason) for n in self._targets.read_only)

    def _left_out(self) -> set[bytes]:
        """Return the live names that no backup takes."""
        selection = select(self._scope_with(frozenset()), time.time())
        return {*selection.left_out, *selection.unreadable}

    def _plan_again(self) -> None:
        """Include what appeared in the directories that stay in place while the archive was unpacked."""
        if self._targets.staying:
            targets = self._plan()
            if not targets.has_same_mounts(self._targets):
                raise RefusedError("a file system was mounted or unmounted meanwhile", hint=here("restore"))
            self._targets, self._stage.places = targets, targets.places

    def _preview(self) -> RestoredArchive:
        verify_contents(self._archive, self._observer)
        selection = self._what_is_there()
        live = {found.name: found for found in selection.found if self._targets.covers(found.name)}
        changes = diff.compare(self._targets.wanted(self._archive), diff.from_disk(live.values()))
        not_set = tuple(
            NotSet(path=printable(entry.name), what=what, reason=reason)
            for entry in self._targets.wanted(self._archive)
            for what, reason in refused_bits(entry).items()
        )
        not_set += self._not_writable
        return RestoredArchive(
            difference=changes, kept=self._targets.untouched, not_set=not_set, not_asked=self._targets.passed_over
        )

    def _unpack(self) -> None:
        self._check_room()
        if self._targets.dump and self._request.postgres is None:
            why = "; ".join(f"{printable(name)}: {reason}" for name, reason in self._request.unsaved.items())
            raise RefusedError(
                "the archive contains a PostgreSQL database, but DATABASE_URL names none to restore it to"
                + (f" ({why})" if why else ""),
                where=str(self._archive.path),
                hint="restore only files with --only, or set DATABASE_URL",
            )
        self._kept_extensions = self._refuse_what_is_missing()
        self._observer.step("open journal")
        self._save(msgspec.structs.replace(self._journal, staying=tuple(map(_record, self._targets.staying))))
        make_staging(self._targets)
        self._stage.unpack()

    def _replace(self) -> RestoredArchive:
        self._observer.step("stop services")
        stopped = self._services.stop()
        self._save(msgspec.structs.replace(self._journal, stopped=stopped))
        self._refuse_holders()
        self._plan_again()
        safety = self._save_what_is_there()
        if self._targets.dump and any(one.path == printable(DUMP_NAME) for one in safety.unreadable):
            raise OperationError(f"the PostgreSQL database could not be saved first: {safety.unreadable[0].reason}")
        kept = self._keep()
        self._stage.finish_directories()
        self._stage.set_flags()
        for directory in self._targets.staging:
            sync_directory(os.path.join(directory, b"new"))
        saved_at = Path(safety.archive)
        with opened(saved_at, self._request.keys, self._place) as plain, Archive(plain) as saved:
            live = diff.from_archive(
                e
                for e in saved.manifest.entries
                if self._targets.covers(e.name) and not any(is_within(e.name, name) for name in kept.names)
            )
        changes = diff.compare(self._targets.wanted(self._archive), live)
        self._observer.step("prepare")
        self._save(
            msgspec.structs.replace(
                self._journal,
                state="prepared",
                units=self._units(),
                safety_backup=safety.archive,
                keep_replaced=bool(safety.unreadable) or not kept.complete,
                database_marker=secrets.token_hex(8) if self._targets.dump else None,
            )
        )
        for unit in self._journal.units:
            self._observer.step("exchange")
            swap(unit)
        sync_parents(self._journal)
        self._describe_staying()
        self._restore_database()
        self._observer.step("commit")
        self._save(msgspec.structs.replace(self._journal, state="committed"))
        not_set = tuple(sorted((*self._stage.not_set, *self._not_writable), key=lambda one: one.path))
        return RestoredArchive(
            difference=changes,
            kept=tuple(sorted({*kept.names, *self._targets.untouched})),
            safety=safety,
            stopped=stopped,
            not_set=not_set,
            not_asked=self._targets.passed_over,
        )

    def _describe_staying(self) -> None:
        names = {one.live: one.name for one in self._targets.staying}
        for path, refused in describe_staying(self._journal, restored=True).items():
            self._stage.not_set += [
                NotSet(path=printable(names[path]), what=what, reason=reason) for what, reason in refused.items()
            ]

    def _save_what_is_there(self) -> CreateReport:
        try:
            return create_locked(self._safety_plan(), self._observer)
        except BadArchiveError as error:  # of the safety backup; the archive being restored is good
            raise OperationError(f"the safety backup cannot be read back: {error}", hint="dmesg | tail") from None

    def _restore_database(self) -> None:
        """Restore in one transaction with the journal's marker: after a kill, the server decides the outcome."""
        postgres, marker = self._request.postgres, self._journal.database_marker
        if self._targets.dump and postgres and marker:
            self._observer.step("restore database")
            dump, timeout_s = Path(os.fsdecode(self._targets.dump)), self._request.database_timeout_s
            postgres.restore(dump, self._kept_extensions, marker, timeout_s)

    def _refuse_what_is_missing(self) -> tuple[str, ...]:
        """Return the extensions that stay as they are; raise before anything if the server lacks what a dump needs."""
        entries = self._archive.manifest.entries
        dump = next((one.database for one in entries if one.name == DUMP_NAME), None)
        if not (self._targets.dump and self._request.postgres and dump):
            return ()
        return self._request.postgres.refuse_what_is_missing(dump, self._request.database_timeout_s).kept

    def _prove(self, outcome: RestoredArchive) -> RestoredArchive:
        """Start the services that ran before; if they do not become healthy, bring the old tree back."""
        started = outcome.stopped if self._request.start else ()
        self._observer.step("start services")
        try:
            if started:
                self._services.start(started)
        except ToombosError as error:
            self._give_way(error)
        if self._request.postgres and self._journal.database_marker:
            with contextlib.suppress(ToombosError):  # dumps leave it out, and the next restore drops it
                self._request.postgres.drop_marker(self._request.database_timeout_s)
        with disk_errors("the replaced files could not be removed", self._place.project):
            replaced_at = clear(self._place, self._journal, self._observer)
        return replace(outcome, started=started, replaced_at=replaced_at)

    def _give_way(self, sick: ToombosError) -> NoReturn:
        """Bring the old state back and raise. The new state stays if processes that write to it cannot be stopped.

        It also stays if it includes a database server, whose commit cannot be undone together with the files.
        """
        if self._journal.database_marker:
            raise OperationError(
                f"the restored state is in place with its PostgreSQL database, but did not become healthy: {sick}",
                where=str(self._archive.path),
                hint=self._way_back,
            )
        try:
            self._services.stop()
        except ToombosError as stuck:
            raise OperationError(
                f"the restored state is in place, but did not become healthy ({sick}) and cannot be stopped ({stuck})",
                where=str(self._archive.path),
                hint=f"{here('stop')} && {self._way_back}",
            ) from None
        failure = OperationError(
            f"the restored system did not become healthy, so the old state is back in place: {sick}",
            where=str(self._archive.path),
            hint=here("logs", "--errors"),
        )
        with disk_errors("the old state could not be brought back", self._place.project):
            self._journal = reopen(self._place, self._journal)
            self._undo(failure)
        raise failure

    @property
    def _way_back(self) -> str:
        """The command that restores the safety backup, which exists before anything is replaced."""
        return here("restore", str(self._journal.safety_backup))

    def _undo(self, cause: BaseException) -> None:
        """Bring the old tree back and start what was stopped; a failure to start is appended to the cause."""
        self._journal = as_the_server_decided(self._journal, self._request.postgres)
        if self._journal.state == "prepared":
            roll_back(self._journal, self._observer)
        stopped = self._journal.stopped
        clear(self._place, self._journal, self._observer)
        try:
            if stopped:
                self._services.start(stopped)
        except ToombosError as error:
            if isinstance(cause, ToombosError):
                cause.problems += error.problems

    def _save(self, journal: Journal) -> None:
        save_journal(self._place, journal)
        self._journal = journal

    def _units(self) -> tuple[SwapUnit, ...]:
        units = []
        for target in self._targets.items:
            os.makedirs(os.path.dirname(target.live), exist_ok=True)
            units.append(
                SwapUnit(
                    live=target.live,
                    staged=target.staged,
                    aside=target.aside,
                    live_id=identity(target.live),
                    staged_id=identity(target.staged),
                )
            )
        return tuple(unit for unit in units if unit.live_id or unit.staged_id)

    def _safety_plan(self) -> BackupPlan:
        postgres = self._request.postgres if self._targets.dump else None
        keys = self._request.keys if self._request.keys.identity else NO_KEYS
        return BackupPlan(place=self._place, scope=self._safety_scope(), kind="safety", postgres=postgres, keys=keys)

    def _safety_scope(self) -> Scope:
        """Return the manifest's scope, extended to every name that the archive would replace."""
        return self._scope_with(frozenset(entry.name for entry in self._targets.wanted(self._archive)))

    def _scope_with(self, always: frozenset[bytes]) -> Scope:
        scope = self._request.scope
        known = {root.path for root in scope.roots}
        known.add(DUMP_ROOT)  # not a path of the project
        more = tuple(Root(path=root.path) for root in self._archive.manifest.header.roots if root.path not in known)
        return replace(scope, roots=(*scope.roots, *more), always=always)

    def _what_is_there(self) -> BackupSelection:
        """Return the live files, without the data directories that the archive does not have: they stay."""
        selection = select(self._safety_scope(), time.time())
        keep_unsaved(selection, frozenset(entry.name for entry in self._archive.manifest.entries))
        return selection

    def _keep(self) -> Kept:
        selection = self._what_is_there()
        return keep_left_out(selection, self._archive, self._targets.live_of, self._stage.path_of)

    def _check_room(self) -> None:
        for directory in self._targets.staging:
            content = self._stage.bytes_in(directory)
            needed = content + min(content, _ROOM_BYTES)  # a volume may be small
            free = shutil.disk_usage(os.path.dirname(directory)).free
            if free < needed:
                raise OperationError(
                    f"not enough disk space to restore: {size(needed)} needed, {size(free)} free",
                    where=os.fsdecode(os.path.dirname(directory)),
                    hint=here("backup", "prune"),
                )

    def _refuse_immovable(self) -> None:
        """Raise RefusedError for a path that the kernel does not let anybody rename."""
        for target in self._targets.items:
            flags = flags_of(target.live)
            if flags:
                raise RefusedError(
                    f"{printable(target.name)!r} is {' and '.join(flags)}, so it cannot be replaced",
                    where=os.fsdecode(target.live),
                    hint=f"chattr -ia {quoted(os.fsdecode(target.live))}",
                )

    def _refuse_holders(self) -> None:
        holders = find_holders((target.live for target in self._targets.items), self._services.logs_in_use())
        if holders:
            first = holders[0]
            raise RefusedError(
                f"{first.name} (pid {first.pid}) writes to {first.path}"
                + (f", and so do {len(holders) - 1} more" if len(holders) > 1 else ""),
                hint=here("stop"),
            )


def _record(directory: StayingDirectory) -> StayingRecord:
    before = entry_of(directory.live)
    return StayingRecord(path=directory.live, before=before, after=directory.entry or before)
