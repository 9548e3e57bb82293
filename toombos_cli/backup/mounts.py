"""Where other file systems are mounted: their files are never moved with a tree, nor removed with it.

A device number does not show a directory of the same file system that is mounted elsewhere; the kernel's number of a
mount does (proc(5), /proc/PID/fdinfo).
"""

import os
from collections.abc import Iterable

from toombos_cli.backup.archive.safety import is_within

_LOOK = getattr(os, "O_PATH", os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC
_MOUNT_ID = "mnt_id:"


def mounts_below(top: bytes) -> tuple[bytes, ...]:
    """Return the mount points at or below a real path, sorted: directories, and files that are mounted alone."""
    import psutil

    found = {os.fsencode(part.mountpoint) for part in psutil.disk_partitions(all=True)}
    return tuple(sorted(path for path in found if is_within(path, top) and _is_mounted(path)))


def holds_mount(path: bytes, mounts: Iterable[bytes]) -> bool:
    """Report whether one of the mount points is `path` or below it."""
    return any(is_within(mount, path) for mount in mounts)


def on_same_mount(one: bytes, other: bytes) -> bool:
    """Report whether two paths can be renamed into each other. Raise OSError if one does not exist."""
    return _mount_of_path(one) == _mount_of_path(other)


def is_read_only(path: bytes) -> bool:
    """Report whether the file system at a path is mounted read-only. Raise OSError."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def mount_of(fd: int) -> tuple[int, int]:
    """Return what identifies the mount of an open file: its device and, on Linux, the number of the mount."""
    device = os.fstat(fd).st_dev
    try:
        with open(f"/proc/self/fdinfo/{fd}") as facts:
            number = next((int(line[len(_MOUNT_ID) :]) for line in facts if line.startswith(_MOUNT_ID)), 0)
    except OSError:
        number = 0
    return device, number


def _mount_of_path(path: bytes) -> tuple[int, int]:
    fd = os.open(path, _LOOK)
    try:
        return mount_of(fd)
    finally:
        os.close(fd)


def _is_mounted(path: bytes) -> bool:
    """Report whether a listed mount point is still visible: another mount may cover it."""
    try:
        return not on_same_mount(path, os.path.dirname(path))
    except OSError:
        return False
