"""Finds the data directories of databases among the files to save, and the process that each belongs to."""

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from toombos_cli import processes
from toombos_cli.backup.archive.safety import is_within
from toombos_cli.backup.living.kinds import SIGNATURES, Kind, Signature
from toombos_cli.backup.selection import Found
from toombos_cli.backup.transaction.open_files import FileWriter, files_written

_MARKED = defaultdict(list)
for _signature in SIGNATURES:
    _MARKED[_signature.marker].append(_signature)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataDirectory:
    """One database's directory: `name` in the archive, `path` on disk, and the process that works in it, or None.

    `linked` are directories elsewhere in the roots that belong to it through links, such as tablespaces: their names
    and paths.
    """

    kind: Kind
    name: bytes
    path: bytes
    signature: Signature = field(repr=False)
    pid: int | None = None
    program: str = ""
    linked: tuple[tuple[bytes, bytes], ...] = ()

    def holds(self, name: bytes) -> bool:
        """Report whether an archive name is one of the store's; of a directory that it shares, only its own files."""
        if any(is_within(name, other) for other, _ in self.linked):
            return True
        if name == self.name:
            return not self.signature.only
        if not self.name:
            return self.signature.covers(name)
        return is_within(name, self.name) and self.signature.covers(name[len(self.name) + 1 :])


def data_directories(found: Iterable[Found]) -> tuple[DataDirectory, ...]:
    """Return the data directories among these entries, without those inside another one and without their process."""
    stores: dict[bytes, DataDirectory] = {}
    found = tuple(found)
    for one in found:
        for signature in _MARKED.get(os.path.basename(one.name), ()):
            name, path = os.path.dirname(one.name), os.path.dirname(one.path)
            if (name or signature.only) and name not in stores and signature.fits(path):
                stores[name] = DataDirectory(kind=signature.kind, name=name, path=path, signature=signature)
    outer = [name for name in stores if not stores[name].signature.only]
    inner = {name for name in stores for other in outer if name != other and is_within(name, other)}
    return tuple(_with_linked(store, found) for name, store in stores.items() if name not in inner)


def _with_linked(store: DataDirectory, found: Iterable[Found]) -> DataDirectory:
    targets = set()
    for pattern in store.signature.links:
        for link in Path(os.fsdecode(store.path)).glob(pattern):
            if link.is_symlink():
                targets.add(os.path.realpath(os.fsencode(link)))
    if not targets:
        return store
    places = [(one.name, one.path) for one in found if one.type == "dir" and os.path.realpath(one.path) in targets]
    return replace(store, linked=tuple(places))


def find_processes(stores: Iterable[DataDirectory]) -> tuple[DataDirectory, ...]:
    """Return the data directories with the process that works in each, None as far as this user can see none."""
    found = tuple(stores)
    writers = tuple(files_written(tuple(store.path for store in found))) if found else ()
    return tuple(_with_process(store, writers) for store in found)


def _with_process(store: DataDirectory, writers: tuple[FileWriter, ...]) -> DataDirectory:
    for pid in (_of_pid_file(store), *_of_locks(store), *_of_working_directory(store)):
        if pid is not None:
            return replace(store, pid=pid, program=_program(pid))
    for writer in writers:
        path = os.fsencode(writer.path)
        if is_within(path, store.path) and store.signature.covers(path[len(store.path) + 1 :]):
            return replace(store, pid=writer.pid, program=writer.name)
    return store


def state_of(store: DataDirectory) -> frozenset[tuple[bytes, int, int, int]]:
    """Return the name, inode, size and time of each file: equal before and after a copy, the copy is of one moment."""
    seen = set()
    for directory, names, files in os.walk(store.path):
        for name in (*names, *files):
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, store.path)
            if store.signature.covers(relative):
                with contextlib.suppress(OSError):
                    status = os.lstat(path)
                    seen.add((relative, status.st_ino, status.st_size, status.st_mtime_ns))
    return frozenset(seen)


def _of_pid_file(store: DataDirectory) -> int | None:
    """Return the pid in the store's pid file if a program of its kind has it now: a crash leaves the file behind."""
    if not store.signature.pid_file:
        return None
    try:
        with open(os.path.join(store.path, store.signature.pid_file), "rb") as file:
            pid = int(file.readline(32))
    except (OSError, ValueError):
        return None
    if not _is_of_kind(pid, store.signature):
        return None
    if store.kind is Kind.POSTGRESQL and (place := _working_directory(pid)):  # it may be the pid of another server now
        return pid if place == _place(store) else None
    return pid


def _of_locks(store: DataDirectory) -> list[int]:
    """Return the pids that lock the store's files; the kernel's list shows those of other users too."""
    inodes = set()
    for name in store.signature.locks:
        with contextlib.suppress(OSError):
            status = os.stat(os.path.join(store.path, name))
            inodes.add(f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}")
    if not inodes:
        return []
    try:
        with open("/proc/locks", encoding="ascii") as file:
            rows = [line.replace("-> ", "").split() for line in file]
    except OSError:  # another system than Linux
        return []
    return [int(row[4]) for row in rows if len(row) > 5 and row[5] in inodes and int(row[4]) not in (0, -1)]


def _of_working_directory(store: DataDirectory) -> list[int]:
    """Return the processes of the kind's programs whose working directory it is."""
    if not store.signature.programs:
        return []
    place = _place(store)
    pids = (pid for pid in processes.all_pids() if _is_of_kind(pid, store.signature))
    return [pid for pid in pids if _working_directory(pid) == place]


def _place(store: DataDirectory) -> tuple[int, int]:
    try:
        status = os.stat(store.path)
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def _working_directory(pid: int) -> tuple[int, int] | None:
    """Return device and inode of a process's working directory: in a container, its path is another one than here."""
    for path in (f"/proc/{pid}/cwd", processes.working_directory(pid)):
        with contextlib.suppress(OSError, TypeError):
            status = os.stat(path)  # type: ignore[arg-type]  # a process may be gone: the path is None
            return status.st_dev, status.st_ino
    return None


def _is_of_kind(pid: int, signature: Signature) -> bool:
    row = processes.read_row(pid) if pid > 0 else None
    return row is not None and not row.zombie and _program(pid).startswith(signature.programs)


def processes_in(found: Iterable[Found], kind: Kind) -> tuple[DataDirectory, ...]:
    """Return the directory of each running program of a kind that works in one of these, with or without files."""
    signature = next(one for one in SIGNATURES if one.kind is kind)
    places = {(one.status.st_dev, one.status.st_ino): one for one in found if one.type == "dir"}
    stores = []
    for pid in processes.all_pids():
        one = places.get(_working_directory(pid) or (0, 0)) if _is_of_kind(pid, signature) else None
        if one is not None:
            store = DataDirectory(kind=kind, signature=signature, name=one.name, path=one.path)
            stores.append(replace(store, pid=pid, program=_program(pid)))
    return tuple(stores)


def _program(pid: int) -> str:
    import psutil

    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return ""


def unix_sockets(pid: int) -> list[str]:
    """Return the Unix sockets of a process; their paths may be relative to its working directory."""
    import psutil

    try:
        found = psutil.Process(pid).net_connections("unix")
    except psutil.Error:
        return []
    return [str(one.laddr) for one in found if one.laddr]
