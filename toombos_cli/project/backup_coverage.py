"""Judges what a backup of the project would hold against what should be there: the only judge of it."""

import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec

from toombos_cli.base.files import replace_file
from toombos_cli.base.own_records import encode_own, read_own
from toombos_cli.base.results import Verdict
from toombos_cli.base.spelling import nearest
from toombos_cli.base.sqlite_files import COMPANIONS, is_sqlite
from toombos_cli.base.untrusted import UntrustedError
from toombos_cli.manifest.model import Manifest
from toombos_cli.project.own_processes import recorded_processes
from toombos_cli.project.state import read_state
from toombos_cli.settings.age_identity import read_key_file
from toombos_cli.settings.backup_gaps import Gap, GapKind
from toombos_cli.settings.databases import Database

_MOST_ENTRIES = 2000
_NO_DATA = (".log", ".pid", ".lock", ".tmp", ".sock", *map(os.fsdecode, COMPANIONS))
_SYSTEM = ("/dev", "/proc", "/run", "/sys")


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """What the newest good archive holds: the number of files below each root, database and mount point."""

    archive: str
    files: dict[str, int]


def save_holdings(directory: Path, holdings: Holdings) -> None:
    """Record the content of an archive that is good, beside the archives. Raise OSError."""
    replace_file(_record(directory), encode_own(holdings), durable=True)


def load_holdings(directory: Path) -> Holdings | None:
    """Return what the newest good archive holds, or None if there was none yet or the record is unreadable."""
    try:
        return read_own(_record(directory), Holdings)
    except (OSError, UntrustedError):
        return None


def _record(directory: Path) -> Path:
    return directory / "holdings.json"


def backups_are_used(manifest: Manifest) -> bool:
    """Report whether the project has backups: a directory with archives, or a `[backup]` table of its own."""
    return _directory(manifest).is_dir() or any(key[:1] == ("backup",) for key in manifest.source.written)


def written_roots(manifest: Manifest) -> frozenset[str]:
    """Return the roots that the project's own `toombos.toml` names, without inherited ones."""
    table, keys = manifest.backup, ("roots", "log_roots")
    return frozenset(root for key in keys if ("backup", key) in manifest.source.written for root in getattr(table, key))


def find_gaps(manifest: Manifest, databases: Iterable[Database]) -> tuple[Gap, ...]:
    """Return what a backup made now would lack, the worst first."""
    databases = tuple(databases)
    found = (*_lost(manifest, databases), *_of_keys(manifest), *_outside(manifest, databases))
    return tuple(sorted(found, key=lambda gap: gap.verdict is not Verdict.FAIL))


def _lost(manifest: Manifest, databases: Iterable[Database]) -> Iterator[Gap]:
    """Yield the roots that do not exist although they should, and what was full in the last good archive."""
    holdings, written = load_holdings(_directory(manifest)), written_roots(manifest)
    before = holdings.files if holdings else {}
    expected = (name for name in before if _is_expected(manifest, name, databases))
    for name in dict.fromkeys((*manifest.backup.roots, *manifest.backup.log_roots, *expected)):
        path, count = manifest.project / name, before.get(name, 0)
        is_default_log = name in manifest.backup.log_roots and name not in written
        gap = Gap(
            kind=GapKind.ABSENT,
            path=name,
            files_before=count,
            archive=holdings.archive if holdings else "",
            verdict=Verdict.WARN if is_default_log else Verdict.FAIL,
        )
        if not os.path.lexists(path):
            if name in written or count:
                yield replace(gap, nearest=_nearest_beside(manifest, name))
        elif not path.exists():
            yield replace(gap, kind=GapKind.BROKEN_LINK, detail=os.path.realpath(path))
        elif count and not _has_files(path, _directory(manifest)):
            yield replace(gap, kind=GapKind.EMPTIED)


def _is_expected(manifest: Manifest, name: str, databases: Iterable[Database]) -> bool:
    """Report whether a backup still covers what an archive holds: it is in a root, or the settings name it."""
    path = os.path.realpath(manifest.project / name)
    named = any(one.path is not None and os.path.realpath(one.path) == path for one in databases)
    roots = (*manifest.backup.roots, *manifest.backup.log_roots)
    return named or any(name == root or name.startswith(f"{root}/") for root in roots)


def _nearest_beside(manifest: Manifest, name: str) -> str | None:
    """Return the most similar name in the directory where the root should be, relative to the project."""
    parent, _, last = name.rpartition("/")
    try:
        beside = [path.name for path in (manifest.project / parent).iterdir()]
    except OSError:
        return None
    guess = nearest(last, (other for other in beside if other != _directory(manifest).name))
    return f"{parent}/{guess}".lstrip("/") if guess else None


def _has_files(path: Path, leave_out: Path) -> bool:
    """Report whether anything but directories is at or below a path. What cannot be read may have files."""
    if not path.is_dir():
        return True
    ahead = [os.path.realpath(path)]
    while ahead:
        try:
            with os.scandir(ahead.pop()) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        return True
                    if entry.path != os.path.realpath(leave_out):
                        ahead.append(entry.path)
        except OSError:
            return True
    return False


def _of_keys(manifest: Manifest) -> Iterator[Gap]:
    """Yield the identity file if it cannot be used, or lies in a root: the machine's end is then that of the key."""
    table = manifest.backup
    if not (table.age_identity and table.age_recipients):
        return
    path = manifest.project / table.age_identity
    if fault := read_key_file(path).fault:
        yield Gap(kind=GapKind.KEY_UNUSABLE, path=table.age_identity, verdict=Verdict.WARN, detail=str(fault))
    elif _covering(manifest, os.path.realpath(path)):
        yield Gap(kind=GapKind.KEY_INSIDE, path=table.age_identity, verdict=Verdict.WARN)


def _outside(manifest: Manifest, databases: Iterable[Database]) -> Iterator[Gap]:
    """Yield the data that no root covers: SQLite files beside the manifest, and files that services write to."""
    saved = {os.path.realpath(one.path) for one in databases if one.path is not None}
    users: dict[str, dict[str, None]] = {}
    running = _files_in_use(manifest, databases)
    beside = {path: None for place in _places(manifest) for path in _sqlite_files(place)}
    for path in (*beside, *running):
        if path not in saved and not _covering(manifest, path) and not _is_elsewhere(manifest, path):
            users.setdefault(_shown(manifest, path), {}).update(dict.fromkeys(running.get(path, ())))
    for shown, services in users.items():
        root = None if shown.startswith("/") else shown
        yield Gap(
            kind=GapKind.OUTSIDE, path=shown, verdict=Verdict.WARN, nearest=root, services=tuple(sorted(services))
        )


def _shown(manifest: Manifest, path: str) -> str:
    """Return the root to add for a file in the project, or the file's directory elsewhere.

    The root is what lies directly in the project, or in the working directory of a service that is in the project.
    """
    project = os.path.realpath(manifest.project)
    if not _is_below(path, project):
        return str(Path(path).parent)
    place = max((one for one in _places(manifest) if _is_below(path, one) and _is_below(one, project)), key=len)
    return f"{place}/{path[len(place) + 1 :].split('/')[0]}"[len(project) + 1 :]


def _places(manifest: Manifest) -> dict[str, None]:
    """Return the project and the working directories of the services."""
    places: tuple[str, ...] = (str(manifest.project), *(service.cwd for service in manifest.services.values()))
    return dict.fromkeys(map(os.path.realpath, places))


def _sqlite_files(directory: str) -> Iterator[str]:
    """Yield the SQLite files directly in a directory; hidden ones are caches of tools."""
    try:
        with os.scandir(directory) as entries:
            for entry in itertools.islice(entries, _MOST_ENTRIES):
                if (
                    not entry.name.startswith(".")
                    and entry.is_file(follow_symlinks=False)
                    and is_sqlite(os.fsencode(entry.path))
                ):
                    yield entry.path
    except OSError:
        return


def _files_in_use(manifest: Manifest, databases: Iterable[Database]) -> dict[str, tuple[str, ...]]:
    """Return the files that running services have open for writing, with the services.

    The files of a database server that the settings name are not among them: it is saved by a dump.
    """
    state = read_state(manifest.project)
    if state is None:
        return {}
    import psutil

    from toombos_cli import processes

    dumped = {one.server.port for one in databases if one.server is not None}
    table, found = processes.process_table(), dict[str, tuple[str, ...]]()
    for name, leader in recorded_processes(manifest.project, state).items():
        service = manifest.services.get(name)
        if service is None or service.role == "monitoring" or (service.port and service.port in dumped):
            continue
        for pid in processes.descendants((leader.pid,), table) | {leader.pid}:
            try:
                opened = psutil.Process(pid).open_files()
            except (psutil.Error, OSError):
                continue
            for file in opened:
                if getattr(file, "mode", "w") != "r" and _is_data(manifest, file.path):
                    found[file.path] = tuple(dict.fromkeys((*found.get(file.path, ()), name)))
    return found


def _is_data(manifest: Manifest, path: str) -> bool:
    """Report whether an open file may be data: no log, no lock, nothing of toombos, of the system or temporary."""
    project = os.path.realpath(manifest.project)
    own = (f"{project}/run", os.path.realpath(_directory(manifest)))
    if path.endswith(_NO_DATA) or any(_is_below(path, top) for top in (*own, *_SYSTEM)):
        return False
    if any(path == os.path.realpath(service.log) for service in manifest.services.values()):
        return False
    return _is_below(path, project) or not _is_temporary(path, os.path.realpath(tempfile.gettempdir()))


def _is_temporary(path: str, top: str) -> bool:
    """Report whether a file is directly in a directory for temporary files, or in one that `tempfile` makes there."""
    first, _, rest = path.removeprefix(f"{top}/").partition("/")
    return _is_below(path, top) and (not rest or first.startswith((".", "tmp")))


def _covering(manifest: Manifest, path: str) -> bool:
    """Report whether a root contains a path whose links are resolved."""
    roots = (*manifest.backup.roots, *manifest.backup.log_roots)
    return any(_is_below(path, os.path.realpath(manifest.project / root)) for root in roots)


def _is_elsewhere(manifest: Manifest, path: str) -> bool:
    """Report whether the manifest says that a path is saved in another way."""
    return any(_is_below(path, os.path.realpath(manifest.project / one)) for one in manifest.backup.elsewhere)


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top.rstrip('/')}/")


def _directory(manifest: Manifest) -> Path:
    return manifest.project / manifest.backup.directory
