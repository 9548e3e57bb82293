"""Saves the data directories of databases: by their own program, while their service is stopped, or not at all.

A directory that is left out makes the archive incomplete, with the reason; so does one that changed while it was read.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from toombos_cli import processes
from toombos_cli.backup.archive.file_reader import Intake
from toombos_cli.backup.archive.format import EntryType, Root
from toombos_cli.backup.living import mariadb_backup
from toombos_cli.backup.living.base_backup import Postmaster, base_backup, tablespace_copy, tablespaces
from toombos_cli.backup.living.finding import DataDirectory, data_directories, find_processes, processes_in, state_of
from toombos_cli.backup.living.kinds import Kind
from toombos_cli.backup.living.redis_snapshot import RedisFiles, files_of, snapshot_files
from toombos_cli.backup.postgres import Postgres
from toombos_cli.backup.selection import BackupSelection, Found, Scope, select
from toombos_cli.backup.tree_removal import remove_tree
from toombos_cli.base.errors import OperationError, ToombosError


class Pause(Protocol):
    """Stops services while their data is read."""

    def __call__(self, name: str, /) -> AbstractContextManager[None]:
        """Stop a service for the block. Raise ToombosError if it does not stop, or does not start again."""

    def resume(self) -> tuple[str, ...]:
        """Start what a killed backup or restore had stopped, and return it. Raise ToombosError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePolicy:
    """What the manifest says about the data of its services.

    `owners` are the services by the pids of their main processes. Those in `stopped` may be stopped by `pause`, those
    in `commanded` are saved by a command of their own, those in `monitoring` hold no data of the system. `passwords`
    returns those that may open a Redis of ours.
    """

    owners: Mapping[int, str] = field(default_factory=dict)
    stopped: frozenset[str] = frozenset()
    commanded: frozenset[str] = frozenset()
    monitoring: frozenset[str] = frozenset()
    pause: Pause | None = None
    passwords: Callable[[], Iterable[str]] = field(default=tuple, repr=False)

    def service_of(self, pid: int | None) -> str | None:
        """Return the service that a process belongs to, or None."""
        return next((self.owners[row.pid] for row in processes.lineage(pid or 0) if row.pid in self.owners), None)

    def passwords_for(self, pid: int | None) -> Iterable[str]:
        """Yield the passwords to try at a process, which a stranger does not get to see."""
        if self.service_of(pid) is not None or processes.real_uid(pid or 0) == os.geteuid():
            yield from self.passwords()


NO_POLICY = ServicePolicy()


@dataclass(slots=True)
class DataDirectories:
    """The data directories of a selection: `living` are out of it, `resting` are in it with their state before."""

    scope: Scope
    policy: ServicePolicy
    scratch: Path
    timeout_s: float
    postgres: Postgres | None = None
    living: list[DataDirectory] = field(default_factory=list)
    resting: dict[DataDirectory, frozenset[tuple[bytes, int, int, int]]] = field(default_factory=dict)
    dumped: dict[DataDirectory, str] = field(default_factory=dict)
    """Those that only the dump of the settings' database saves, with the reason."""
    size_bytes: int = 0
    """The size of the living ones: a copy of them needs as much room beside the archive."""
    has_base_backup: bool = False
    """Whether a base backup holds the settings' database."""

    def take_out(self, selection: BackupSelection) -> None:
        """Find the directories, and take the files of the living ones out of the selection."""
        self.living += processes_in(selection.found, Kind.REDIS)
        served = {store.path for store in self.living}
        self.living = [self._with_its_names(store) for store in self.living]
        found = (store for store in data_directories(selection.found) if store.path not in served)
        for store in find_processes(found):
            if store.pid is not None:
                self.living.append(store)
            else:
                self.resting[store] = state_of(store)
        if self.living:
            held = [one for one in selection.found if any(store.holds(one.name) for store in self.living)]
            gone = {one.name for one in held}
            self.size_bytes = sum(one.status.st_size for one in held)
            selection.found = [one for one in selection.found if one.name not in gone]
            self.living = [store for store in self.living if self._is_kept(store, gone)]

    def add(self, intake: Intake) -> None:
        """Add every living directory to the archive, or record why it is not in it."""
        for store in self.living:
            intake.observer.step("data directory")
            service = self.policy.service_of(store.pid)
            try:
                if service in self.policy.stopped and self.policy.pause is not None and service:
                    self._add_stopped(store, service, intake)
                elif service in self.policy.commanded:
                    intake.left_out[store.name] = f"is saved by the backup command of {service}"
                elif service in self.policy.monitoring:
                    intake.left_out[store.name] = f"belongs to {service}, which only monitors the system"
                elif store.kind is Kind.POSTGRESQL:
                    self._add_base_backup(store, intake)
                elif store.kind is Kind.REDIS:
                    self._add_redis(store, intake)
                elif store.program == mariadb_backup.PROGRAM:
                    self._add_mariadb(store, intake)
                else:
                    intake.unreadable[store.name] = _why_not(store, service)
            except OperationError as error:
                intake.unreadable[store.name] = f"{_why_not(store, service)} ({error})"
            except OSError as error:
                if error.filename is None:  # of the archive itself: files are opened by their names
                    raise
                intake.unreadable[store.name] = f"{_why_not(store, service)} ({error.strerror})"

    def check(self, intake: Intake) -> None:
        """Record each resting directory that changed after all: something that this user cannot see writes to it."""
        for store, before in self.resting.items():
            if state_of(store) != before:
                torn = f"is a data directory of {store.kind} and changed while it was read: its copy is torn"
                intake.unreadable[store.name + b"/"] = torn

    def settle_dumped(self, intake: Intake, problem: str) -> None:
        """Record whether the dump saves those that have no base backup; `problem` is why it does not."""
        for store, reason in self.dumped.items():
            if problem:
                intake.unreadable[store.name] = f"{problem} ({reason})"
            else:
                intake.left_out[store.name] = "its database is saved as a dump"

    def _with_its_names(self, store: DataDirectory) -> DataDirectory:
        try:
            files = files_of(store.pid or 0, self.policy.passwords_for(store.pid))
        except OperationError:
            return store
        return replace(store, signature=replace(store.signature, only=files.names))

    def _is_kept(self, store: DataDirectory, gone: set[bytes]) -> bool:
        """Report whether there is anything to save: a Redis without files may be a cache."""
        if store.kind is not Kind.REDIS or any(store.holds(name) for name in gone):
            return True
        try:
            return files_of(store.pid or 0, self.policy.passwords_for(store.pid)).persistent
        except OperationError:
            return False

    def _add_stopped(self, store: DataDirectory, service: str, intake: Intake) -> None:
        copied = False
        try:
            with self.policy.pause(service) if self.policy.pause else contextlib.nullcontext():
                (now,) = find_processes((replace(store, pid=None, program=""),))
                if now.pid is not None:
                    raise OperationError(f"{now.program} (pid {now.pid}) works in it although {service} is stopped")
                before = state_of(store)
                self._add_as_it_lies(store, intake)
                copied = True
                if state_of(store) != before:
                    intake.unreadable[store.name + b"/"] = "changed while it was read: its copy is torn"
        except ToombosError as error:
            if not copied:
                raise OperationError(str(error)) from None
            intake.unreadable[f"[services.{service}.backup] stop".encode()] = str(error)

    def _add_as_it_lies(self, store: DataDirectory, intake: Intake) -> None:
        root = store.name.decode(errors="surrogateescape")
        scope = replace(self.scope, roots=(Root(path=root),)) if root else self.scope
        for found in select(scope, 0.0).found:
            if store.holds(found.name):
                intake.add(found)

    def _add_base_backup(self, store: DataDirectory, intake: Intake) -> None:
        scratch = self.scratch / "base"
        same = self.postgres if self._serves_the_settings(store) else None
        try:
            try:
                spaces = self._tablespaces(store)
                base = base_backup(store.path, store.pid or 0, scratch, same, self.timeout_s)
            except OperationError as error:
                if same is None:
                    raise
                self.dumped[store] = str(error)
                return
            self.has_base_backup |= same is not None
            _add_copy(base, store.name, store.path, intake)
            for link, (name, path) in spaces.items():
                _add_copy(tablespace_copy(base, link), name, path, intake)
        finally:
            with contextlib.suppress(FileNotFoundError):
                remove_tree(scratch)

    def _add_mariadb(self, store: DataDirectory, intake: Intake) -> None:
        scratch = self.scratch / "mariadb"
        try:
            copy = mariadb_backup.mariadb_copy(store.path, store.pid or 0, scratch, self.timeout_s)
            _add_copy(copy, store.name, store.path, intake)
        finally:
            with contextlib.suppress(FileNotFoundError):
                remove_tree(scratch)

    def _tablespaces(self, store: DataDirectory) -> dict[bytes, tuple[bytes, bytes]]:
        """Return the tablespaces by their links, with name and path. Raise OperationError for one in no root."""
        known, found = {os.path.realpath(path): (name, path) for name, path in store.linked}, {}
        for link, target in tablespaces(store.path).items():
            place = os.path.realpath(os.path.join(store.path, b"pg_tblspc", target))
            if place not in known:
                raise OperationError(f"its tablespace {os.fsdecode(place)} is in no root")
            found[link] = known[place]
        return found

    def _serves_the_settings(self, store: DataDirectory) -> bool:
        postmaster = Postmaster.of(store.path)
        return bool(self.postgres and postmaster and self.postgres.is_at(postmaster.port, postmaster.hosts))

    def _add_redis(self, store: DataDirectory, intake: Intake) -> None:
        files = snapshot_files(store.pid or 0, self.policy.passwords_for(store.pid), self.timeout_s)
        snapshot = os.path.join(store.path, os.fsencode(files.snapshot))
        prefix = store.name + b"/" if store.name else b""
        name = prefix + os.fsencode(files.snapshot)
        intake.add(Found(name=name, path=snapshot, status=os.lstat(snapshot), type="file"))
        if files.aof:
            self._add_append_only(store, files, prefix, snapshot, intake)

    def _add_append_only(
        self, store: DataDirectory, files: RedisFiles, prefix: bytes, snapshot: bytes, intake: Intake
    ) -> None:
        """Add append-only files that begin with the snapshot: a Redis that has them reads nothing else."""
        status, aof = os.lstat(snapshot), os.fsencode(files.aof_name)
        if not files.aof_directory:  # before Redis 7: one file, which may begin with a snapshot
            intake.add(Found(name=prefix + aof, path=snapshot, status=status, type="file"))
            return
        directory = os.path.join(store.path, os.fsencode(files.aof_directory))
        prefix += os.fsencode(files.aof_directory)
        intake.add(Found(name=prefix, path=directory, status=os.lstat(directory), type="dir"))
        base = aof + b".1.base.rdb"
        intake.add(Found(name=prefix + b"/" + base, path=snapshot, status=status, type="file"))
        list_of_files = self.scratch / "manifest"
        list_of_files.write_bytes(b"file %s seq 1 type b\n" % base)
        os.chown(list_of_files, status.st_uid, status.st_gid)
        found = Found(
            name=prefix + b"/" + aof + b".manifest",
            path=os.fsencode(list_of_files),
            status=list_of_files.lstat(),
            type="file",
        )
        intake.add(found)


def keep_unsaved(selection: BackupSelection, names: frozenset[bytes]) -> None:
    """Move the data directories of which an archive with these names has nothing to what the selection leaves out."""
    for store in data_directories(selection.found):
        if any(store.holds(name) for name in names):
            continue
        held = [one.name for one in selection.found if store.holds(one.name)]
        selection.found = [one for one in selection.found if not store.holds(one.name)]
        kept = held if store.signature.only else [store.name, *(name for name, _ in store.linked)]
        selection.left_out |= dict.fromkeys(kept, "is a data directory that the archive does not have")


def _add_copy(copy: Path, name: bytes, live: bytes, intake: Intake) -> None:
    """Add the copy of a directory under the name, mode and time of the live one."""
    intake.add(Found(name=name, path=live, status=os.stat(live), type="dir"))
    _add_tree(os.fsencode(copy), name, intake)


def _add_tree(top: bytes, name: bytes, intake: Intake) -> None:
    for directory, directories, files in os.walk(top):
        directories.sort()
        for child in sorted((*directories, *files)):
            path = os.path.join(directory, child)
            status = os.lstat(path)
            kind: EntryType = "symlink" if os.path.islink(path) else "dir" if os.path.isdir(path) else "file"
            found = Found(name=name + path[len(top) :], path=path, status=status, type=kind)
            if intake.add(found) is None:
                raise OperationError(f"{os.fsdecode(path)} of the base backup cannot be read")


def _why_not(store: DataDirectory, service: str | None) -> str:
    reason = f"belongs to a running {store.kind} ({store.program}, pid {store.pid}): a plain copy would be torn"
    table = f"[services.{service or 'NAME'}.backup]"
    place = f"{{project}}/{os.fsdecode(store.name)}"
    example = f", such as command = {_COMMANDS[store.kind] % place}" if store.kind in _COMMANDS else ""
    return f"{reason}; set {table} stop = true or a command{example} in toombos.toml, or exclude it"


_COMMANDS = {
    Kind.POSTGRESQL: '["pg_dumpall", "-h", "127.0.0.1", "-U", "postgres"]%.0s',
    Kind.MYSQL: '["mariadb-dump", "--all-databases", "--single-transaction"]%.0s',
    Kind.MONGODB: '["mongodump", "--archive"]%.0s',
    Kind.LMDB: '["mdb_copy", "%s"]',
}
"""What prints the whole content of a running store; `%s` is its directory."""
