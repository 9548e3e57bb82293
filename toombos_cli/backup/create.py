"""Creates one archive of a system that may be running, and publishes it only after reading it back."""

import contextlib
import hashlib
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from toombos_cli import __version__
from toombos_cli.backup.archive.earlier_frames import frames_of
from toombos_cli.backup.archive.encryption import NO_KEYS, Keys, seal
from toombos_cli.backup.archive.file_reader import Intake
from toombos_cli.backup.archive.format import ArchiveKind, ArchiveManifest, DatabaseRecord, Header, Root
from toombos_cli.backup.archive.reader import Archive
from toombos_cli.backup.archive.writer import ArchiveWriter, Written
from toombos_cli.backup.databases import snapshot
from toombos_cli.backup.directory import naming
from toombos_cli.backup.directory.catalogue import update_record
from toombos_cli.backup.directory.naming import partial_path
from toombos_cli.backup.directory.ownership import claim, refuse_foreign
from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.directory.publish import clear_leftovers, drop_from_cache, publish
from toombos_cli.backup.directory.store import (
    list_archives,
    newest_known_good,
    point_latest_good,
    remember_dated_ahead,
    utc_now,
)
from toombos_cli.backup.durable import disk_errors
from toombos_cli.backup.errors import BadArchiveError
from toombos_cli.backup.hooks import Hook
from toombos_cli.backup.living.saving import NO_POLICY, DataDirectories, ServicePolicy
from toombos_cli.backup.observer import BackupObserver
from toombos_cli.backup.postgres import DUMP_NAME, DUMP_ROOT, Postgres
from toombos_cli.backup.reports import CreateReport, DatabaseReport, Skipped
from toombos_cli.backup.selection import BackupSelection, Found, Scope, format_of, outside_databases, select
from toombos_cli.backup.transaction.journal import refuse_open_journal
from toombos_cli.backup.tree_removal import remove_tree
from toombos_cli.base.errors import OperationError
from toombos_cli.base.fixes import here
from toombos_cli.base.locks import hold_alone
from toombos_cli.base.results import Verdict
from toombos_cli.base.text import printable, size
from toombos_cli.project.backup_coverage import Holdings, load_holdings, save_holdings
from toombos_cli.settings.backup_gaps import Gap, GapKind

_ROOM_BYTES = 16 << 20
_READ_BYTES = 1 << 20
_NOT_AS_READ = frozenset({"shrunk", "changed"})
"""The flags of files whose content is not that of one moment."""
_NO_DAMAGE = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL})
"""The errors of SQLite that say nothing about the database itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupPlan:
    """What to back up, where to, and as what. `unsaved` is what no archive can hold: it makes this one incomplete.

    `gaps` are what should be there and is not: a regular archive with a FAIL among them is incomplete too.
    """

    place: Place
    scope: Scope
    kind: ArchiveKind = "regular"
    pinned: bool | None = None
    snapshot_deadline_s: float = 600.0
    postgres: Postgres | None = None
    unsaved: Mapping[bytes, str] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    keys: Keys = NO_KEYS
    policy: ServicePolicy = NO_POLICY
    hooks: Mapping[str, Hook] = field(default_factory=dict)
    """The programs whose output is a member, by the names of their services."""

    @property
    def lost(self) -> dict[bytes, str]:
        """The names that make a regular archive incomplete, with the reason; other kinds save what there is."""
        failed = [gap for gap in self.gaps if gap.verdict is Verdict.FAIL] if self.kind == "regular" else []
        return {os.fsencode(gap.path): gap.message for gap in failed}


def create_backup(plan: BackupPlan, observer: BackupObserver) -> CreateReport:
    """Create one verified archive; none if there is no file to save, which the report says.

    Raises LockedError while another backup or restore runs, RefusedError if an interrupted restore must be completed
    first, BadArchiveError if the archive does not read back as written, OperationError for disk errors.
    """
    with hold_alone(plan.place.lock, "backup"):
        refuse_open_journal(plan.place)
        return create_locked(plan, observer)


def create_locked(plan: BackupPlan, observer: BackupObserver) -> CreateReport:
    """Do the same as create_backup, for a caller that holds the lock."""
    started = time.monotonic()
    place = plan.place
    with disk_errors("the backup could not be written", place.directory):
        now = utc_now()
        observer.step("select")
        selection = select(plan.scope, now.timestamp())
        stores = DataDirectories(
            scope=plan.scope,
            policy=plan.policy,
            scratch=place.scratch,
            timeout_s=plan.snapshot_deadline_s,
            postgres=plan.postgres,
        )
        stores.take_out(selection)
        has_more = plan.postgres or plan.hooks or stores.living
        if plan.kind != "safety" and not has_more and selection.is_empty:
            return _nothing(plan, selection, time.monotonic() - started)
        place.create()
        claim(place)
        clear_leftovers(place)
        remember_dated_ahead(place, now)
        place.scratch.mkdir(mode=0o700)
        final = naming.new_path(place.directory, now, encrypted=bool(plan.keys.recipients))
        partial = partial_path(place, final.name)
        try:
            _check_room(place, selection, stores.size_bytes)
            written, intake = _write(plan, selection, stores, now, partial, observer)
            _read_back(partial, written, observer)
            sha256 = written.sha256
            if plan.keys.recipients:
                observer.step("encrypt")
                plain = partial.rename(place.scratch / "plain")
                sha256 = seal(plain, partial, plan.keys)
            publish(partial, final, sha256, observer)
        finally:
            partial.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                remove_tree(place.scratch)
        observer.step("catalogue")
        update_record(
            place.catalogue,
            final,
            outcome="good",
            complete=written.tail.complete and written.tail.files > 0,
            checked_at=now.isoformat(),
            pinned=plan.pinned,
        )
        report = _report(plan, final, written, selection, intake, time.monotonic() - started)
        if report.known_good and plan.kind == "regular":
            save_holdings(place.directory, Holdings(archive=final.name, files=report.saved))
        observer.step("latest-good")
        point_latest_good(place, now)
    return report


def _check_room(place: Place, selection: BackupSelection, copied_bytes: int) -> None:
    """Raise OperationError if the archive clearly cannot fit; in a close case, the write itself decides."""
    largest = max((found.status.st_size for found in selection.found if found.is_database), default=0)
    previous = next((info.size_bytes for info in list_archives(place)), selection.total_bytes // 20)
    needed = max(largest, copied_bytes) + previous + _ROOM_BYTES
    free = shutil.disk_usage(place.directory).free
    if free < needed:
        raise OperationError(
            f"not enough disk space for a backup: about {size(needed)} needed, {size(free)} free",
            where=str(place.directory),
            hint=here("backup", "prune"),
        )


def _write(
    plan: BackupPlan,
    selection: BackupSelection,
    stores: DataDirectories,
    now: datetime,
    partial: Path,
    observer: BackupObserver,
) -> tuple[Written, Intake]:
    number = format_of(selection.found)
    header = Header(
        format=number,
        min_reader=number,
        created_at=now.isoformat(),
        kind=plan.kind,
        host=socket.gethostname(),
        version=__version__,
        roots=(*selection.roots, *((Root(path=DUMP_ROOT),) if plan.postgres or plan.hooks else ())),
    )
    newest = newest_known_good(list_archives(plan.place), now)
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with frames_of(newest.path if newest else None) as earlier, os.fdopen(fd, "wb", buffering=1 << 20) as out:
        writer = ArchiveWriter(out, header, earlier)
        written, intake = _write_members(plan, selection, stores, writer, observer)
        observer.step("sync")
        out.flush()
        os.fsync(out.fileno())
        drop_from_cache(out.fileno())
    if newest and earlier and earlier.damage:
        observer.step("record damage")
        update_record(
            plan.place.catalogue, newest.path, outcome="bad", reason=earlier.damage, checked_at=now.isoformat()
        )
    return written, intake


def _write_members(
    plan: BackupPlan,
    selection: BackupSelection,
    stores: DataDirectories,
    writer: ArchiveWriter,
    observer: BackupObserver,
) -> tuple[Written, Intake]:
    intake = Intake(writer, observer, unreadable=selection.unreadable | dict(plan.unsaved) | plan.lost)
    try:
        observer.step("write", selection.total_bytes)
        for found in selection.found:
            if found.is_database:
                _add_database(plan, found, intake)
            else:
                intake.add(found)
        selection.found = [found for found in selection.found if found.type == "dir"]  # the files took much memory
        stores.add(intake)
        stores.check(intake)
        postgres = None if stores.has_base_backup else plan.postgres
        if postgres or plan.hooks:
            scratch = os.fsencode(plan.place.scratch)
            intake.add(Found(name=os.fsencode(DUMP_ROOT), path=scratch, status=os.stat(scratch), type="dir"))
        for service, hook in plan.hooks.items():
            _add_output(plan, service, hook, intake)
        if postgres:
            _add_postgres(plan, postgres, intake)
            stores.settle_dumped(intake, intake.unreadable.get(DUMP_NAME, ""))
        observer.step("finish")
        return writer.finish(tuple(printable(name) for name in intake.unreadable)), intake
    finally:
        writer.abandon()


def _read_back(partial: Path, written: Written, observer: BackupObserver) -> None:
    """Raise BadArchiveError unless the file on the disk is the one that was written, and the reader accepts it.

    Each frame was decompressed and compared before it was written, and the reader derives every header from the
    manifest: equal bytes and an equal manifest are an archive that restores what was read.
    """
    observer.step("verify", partial.stat().st_size)
    digest = hashlib.sha256()
    with partial.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
            observer.advance(len(chunk))
    with Archive(partial) as archive:
        if digest.hexdigest() != written.sha256 or archive.manifest != written.manifest:
            raise BadArchiveError("the archive does not read back as written", where=str(partial))


def _add_database(plan: BackupPlan, found: Found, intake: Intake) -> None:
    """Add a sound database as its snapshot; add a malformed one unchanged, with its companion files, as evidence."""
    copy = plan.place.scratch / "snapshot"
    try:
        facts = snapshot(found.path, copy, intake.observer, deadline_s=plan.snapshot_deadline_s)
    except TimeoutError as error:
        intake.unreadable[found.name] = str(error)
        return
    except sqlite3.OperationalError as error:
        code = error.sqlite_errorcode & 0xFF
        if code in _NO_DAMAGE:
            locked = "the database stayed locked by another process"
            intake.unreadable[found.name] = locked if code == sqlite3.SQLITE_BUSY else f"{error}: its copy did not fit"
            return
        facts = DatabaseRecord(integrity=str(error))
    except sqlite3.DatabaseError as error:
        facts = DatabaseRecord(integrity=str(error))
    except FileNotFoundError:
        intake.left_out[found.name] = "vanished while the backup ran"
        return
    except OSError as error:
        intake.unreadable[found.name] = error.strerror or str(error)
        return
    intake.observer.step("write")
    if facts.integrity == "ok":
        intake.add_snapshot(found, copy, facts)
        copy.unlink()
        return
    intake.add_raw_database(found, facts)


def _add_postgres(plan: BackupPlan, postgres: Postgres, intake: Intake) -> None:
    """Add the dump of the database server; a server that does not respond makes the archive incomplete."""
    intake.observer.step("dump")
    dump = plan.place.scratch / "postgresql.dump"
    try:
        facts = postgres.dump(dump, plan.snapshot_deadline_s)
        postgres.check(dump, plan.snapshot_deadline_s)
    except OperationError as error:
        intake.unreadable[DUMP_NAME] = str(error)
        return
    found = Found(name=DUMP_NAME, path=os.fsencode(dump), status=dump.stat(), type="file")
    intake.add_snapshot(found, dump, facts)


def _add_output(plan: BackupPlan, service: str, hook: Hook, intake: Intake) -> None:
    """Add what the backup command of a service prints; a failure or no output makes the archive incomplete."""
    intake.observer.step("backup command")
    name, path = f"{DUMP_ROOT}/{service}.backup".encode(), plan.place.scratch / "output"
    try:
        with open(path, "wb", opener=lambda p, flags: os.open(p, flags, 0o600)) as output:
            hook.run(plan.snapshot_deadline_s, output)
    except OperationError as error:
        intake.unreadable[name] = str(error)
        return
    if not path.stat().st_size:
        intake.unreadable[name] = f"{hook.label}: {hook.argv[0]} printed nothing"
        return
    intake.add(Found(name=name, path=os.fsencode(path), status=path.stat(), type="file"))
    path.unlink()


def _nothing(plan: BackupPlan, selection: BackupSelection, duration_s: float) -> CreateReport:
    """The report of a backup for which there was no file; no archive was made."""
    return CreateReport(
        archive="",
        size_bytes=0,
        data_bytes=0,
        files=0,
        duration_s=round(duration_s, 3),
        verified=False,
        known_good=False,
        complete=True,
        databases=(),
        unreadable=(),
        skipped=_skipped(selection.left_out),
        project=str(plan.scope.project),
        roots=tuple(root.path for root in selection.roots),
        absent=tuple(selection.absent),
        flagged=(),
        gaps=plan.gaps,
        unmatched=selection.unmatched,
    )


def _report(
    plan: BackupPlan,
    final: Path,
    written: Written,
    selection: BackupSelection,
    intake: Intake,
    duration_s: float,
) -> CreateReport:
    left_out = selection.left_out | intake.left_out
    excluded = tuple(
        Gap(kind=GapKind.EXCLUDED, path=os.fsdecode(name), verdict=Verdict.WARN)
        for name in sorted(plan.scope.databases & left_out.keys())
    )
    return CreateReport(
        archive=str(final),
        size_bytes=final.stat().st_size,
        data_bytes=written.tail.data_bytes,
        files=written.tail.files,
        duration_s=round(duration_s, 3),
        verified=True,
        known_good=written.tail.complete and written.tail.files > 0,
        complete=written.tail.complete,
        databases=database_reports(written.manifest),
        unreadable=_skipped({name: why for name, why in intake.unreadable.items() if name not in plan.lost}),
        skipped=_skipped(left_out),
        project=str(plan.scope.project),
        roots=tuple(root.path for root in selection.roots),
        absent=tuple(selection.absent),
        gaps=(*plan.gaps, *excluded),
        saved=_saved(written.manifest, (*_mounted(selection), *sorted(plan.scope.databases))),
        outside=outside_databases(selection),
        unmatched=selection.unmatched,
        flagged=tuple(
            Skipped(path=printable(entry.name), reason=", ".join(_NOT_AS_READ.intersection(entry.flags)))
            for entry in written.manifest.entries
            if _NOT_AS_READ.intersection(entry.flags)
        ),
    )


def recall_holdings(place: Place) -> None:
    """Record what the newest good archive holds if there is no such record, as after an update of toombos."""
    if load_holdings(place.directory) is not None:
        return
    refuse_foreign(place)
    newest = newest_known_good(list_archives(place), utc_now())
    if newest is not None and not newest.encrypted:
        with contextlib.suppress(BadArchiveError), Archive(newest.path) as archive:
            save_holdings(place.directory, Holdings(archive=newest.path.name, files=_saved(archive.manifest)))


def _mounted(selection: BackupSelection) -> Iterator[bytes]:
    """Yield the directories below a root that are on another file system than the directory above them."""
    devices = {found.name: found.status.st_dev for found in selection.found if found.type == "dir"}
    yield from (name for name, device in devices.items() if devices.get(os.path.dirname(name), device) != device)


def _saved(manifest: ArchiveManifest, more: Iterable[bytes] = ()) -> dict[str, int]:
    """Return the number of files at or below each root and each of `more`."""
    counts = dict.fromkeys((*(root.path.encode() for root in manifest.header.roots), *more), 0)
    for entry in manifest.entries:
        if entry.type != "dir":
            above = entry.name
            while above:
                if above in counts:
                    counts[above] += 1
                above = os.path.dirname(above)
    return {os.fsdecode(name): count for name, count in counts.items()}


def database_reports(manifest: ArchiveManifest) -> tuple[DatabaseReport, ...]:
    """Return a report for each database of an archive."""
    return tuple(
        DatabaseReport(
            path=printable(entry.name),
            integrity=entry.database.integrity,
            rows=entry.database.rows,
            tables=entry.database.tables,
            unjudged=entry.database.unjudged,
        )
        for entry in manifest.entries
        if entry.database
    )


def _skipped(reasons: dict[bytes, str]) -> tuple[Skipped, ...]:
    return tuple(Skipped(path=printable(name), reason=reason) for name, reason in sorted(reasons.items()))
