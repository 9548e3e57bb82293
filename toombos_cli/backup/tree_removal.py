"""Removes a tree of any depth, without following a link or entering another file system that is mounted in it.

`shutil.rmtree` calls itself, and keeps a descriptor open, for each level: it ends at some thousand levels.
"""

import contextlib
import errno
import os
import stat

from toombos_cli.backup.inode_flags import clear_flags
from toombos_cli.backup.mounts import mount_of, mounts_below

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWNER = 0o700


def remove_tree(path: bytes | str | os.PathLike[str]) -> None:
    """Remove a directory with everything in it, or a file, even if modes or flags in it forbid that. Raise OSError.

    Nothing happens if there is none. Nothing is removed if another file system is mounted in it.
    """
    name = os.fsencode(path)
    try:
        if not stat.S_ISDIR(os.lstat(name).st_mode):
            _unlink(name)
            return
    except FileNotFoundError:
        return
    mounted = mounts_below(os.path.realpath(name))
    if mounted:
        raise _mounted(mounted[0])
    _empty(name)
    _rmdir(name)


def _empty(top: bytes) -> None:
    """Remove what is in a directory; go down and up one level at a time, with one descriptor open."""
    here = _open(top, None)
    mount = mount_of(here)
    above: list[tuple[bytes, tuple[int, int]]] = []
    try:
        while True:
            below = _remove_files(here)
            if below is not None:
                above.append((below, _identity(here)))
                here = _moved(here, _open(below, here))
                if mount_of(here) != mount:  # it was mounted while the tree was removed
                    raise _mounted(top)
            elif above:
                name, expected = above.pop()
                here = _moved(here, os.open("..", _OPEN, dir_fd=here))
                if _identity(here) != expected:
                    raise OSError(f"{os.fsdecode(top)}: a directory was moved while it was removed")
                _rmdir(name, here)
            else:
                return
    finally:
        os.close(here)


def _remove_files(directory: int) -> bytes | None:
    """Remove the files of a directory up to its first subdirectory; return that one's name, or None."""
    if os.fstat(directory).st_mode & _OWNER != _OWNER:
        with contextlib.suppress(OSError):
            os.fchmod(directory, _OWNER)
    with os.scandir(directory) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            if entry.is_dir(follow_symlinks=False):
                return name
            _unlink(name, directory)
    return None


def _unlink(name: bytes, directory: int | None = None) -> None:
    """Remove a file, if need be after taking its flags and those of its directory."""
    try:
        os.unlink(name, dir_fd=directory)
    except PermissionError:
        _clear_flags(name, directory)
        os.unlink(name, dir_fd=directory)


def _rmdir(name: bytes, directory: int | None = None) -> None:
    """Remove an empty directory in the same way."""
    try:
        os.rmdir(name, dir_fd=directory)
    except PermissionError:
        _clear_flags(name, directory)
        os.rmdir(name, dir_fd=directory)


def _clear_flags(name: bytes, directory: int | None) -> None:
    with contextlib.suppress(OSError):
        if directory is not None:
            clear_flags(b".", dir_fd=directory)
        clear_flags(name, dir_fd=directory)


def _mounted(where: bytes) -> OSError:
    return OSError(errno.EBUSY, "another file system is mounted here, so nothing is removed", os.fsdecode(where))


def _open(name: bytes, directory: int | None) -> int:
    try:
        return os.open(name, _OPEN, dir_fd=directory)
    except PermissionError:
        os.chmod(name, _OWNER, dir_fd=directory)
        return os.open(name, _OPEN, dir_fd=directory)


def _moved(old: int, new: int) -> int:
    os.close(old)
    return new


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino
