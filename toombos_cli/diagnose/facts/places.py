"""The file systems that the system writes to: free space, free inodes, and whether they can be written at all."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from toombos_cli.diagnose.facts.configuration import SETTINGS
from toombos_cli.diagnose.facts.source import Fact, Facts, FactUnavailableError


class UsedPlace(msgspec.Struct, frozen=True, kw_only=True):
    """One file system. `path` is the first of the directories on it that are in use, `used_for` says for what.

    `written` says whether a service or toombos has to write there; `mount` is its mount point.
    """

    path: str
    used_for: str
    mount: str
    read_only: bool
    written: bool
    is_of_project: bool
    total_bytes: int
    free_bytes: int
    inodes_total: int
    inodes_free: int


def _gather(facts: Facts) -> tuple[UsedPlace, ...]:
    found: dict[tuple[int, bool], UsedPlace] = {}
    project_device = facts.manifest.project.stat().st_dev
    for path, used_for, written in _in_use(facts):
        with suppress(OSError):
            device, room = path.stat().st_dev, os.statvfs(path)
            read_only = bool(room.f_flag & os.ST_RDONLY)
            if (device, read_only and written) in found:
                continue
            found[device, read_only and written] = UsedPlace(
                path=str(path),
                used_for=used_for,
                mount=_mount_point(path),
                read_only=read_only,
                written=written,
                is_of_project=device == project_device,
                total_bytes=room.f_blocks * room.f_frsize,
                free_bytes=room.f_bavail * room.f_frsize,
                inodes_total=room.f_files,
                inodes_free=room.f_favail,
            )
    return tuple(found.values())


def _in_use(facts: Facts) -> Iterator[tuple[Path, str, bool]]:
    """Yield the directories in use that exist, what for, and whether they must be writable."""
    manifest = facts.manifest
    project = manifest.project
    try:
        databases = [d.path.parent for d in facts.get(SETTINGS).databases if d.path is not None]
    except FactUnavailableError:
        databases = []
    places = [(project / "run", "run", True), (project / "logs", "logs", True)]
    places += [(directory, "a database", True) for directory in databases]
    places += [(project / root, f"the root {root} of backups", root == "data") for root in manifest.backup.roots]
    places += [(project / manifest.backup.directory, "backups", True)]
    places += [(Path(service.cwd), f"the working directory of {n}", False) for n, service in manifest.services.items()]
    places += [(Path(os.environ.get("TMPDIR", "/tmp")), "temporary files", False)]  # noqa: S108  (only looked at)
    places += [(mount, "a directory of the project", False) for mount in _mounts_below(facts)]
    yield from ((path, used_for, written) for path, used_for, written in places if path.is_dir())


def _mounts_below(facts: Facts) -> list[Path]:
    """Return the mount points in the project, if there is one: a service may write to any of them."""
    import psutil

    if facts.manifest.source.path is None:
        return []
    project = facts.manifest.project
    mounts = (Path(part.mountpoint) for part in psutil.disk_partitions(all=True))
    return sorted(mount for mount in mounts if mount != project and mount.is_relative_to(project))


def _mount_point(path: Path) -> str:
    """Return the directory at which the file system of a path is mounted."""
    path = path.resolve()
    while not os.path.ismount(path):
        path = path.parent
    return str(path)


PLACES: Fact[tuple[UsedPlace, ...]] = Fact("places", tuple[UsedPlace, ...], _gather)
