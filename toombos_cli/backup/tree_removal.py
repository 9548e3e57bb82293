"""Removes a tree of any depth, without following a link that somebody puts in its way.

`shutil.rmtree` calls itself, and keeps a descriptor open, for each level: it ends at some thousand levels.
"""

import contextlib
import os
import stat

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWNER = 0o700


def remove_tree(path: bytes | str | os.PathLike[str]) -> None:
    """Remove a directory with everything in it, or a file, even if modes in it forbid that. Raise OSError.

    Nothing happens if there is none.
    """
    name = os.fsencode(path)
    try:
        if not stat.S_ISDIR(os.lstat(name).st_mode):
            os.unlink(name)
            return
    except FileNotFoundError:
        return
    _empty(name)
    os.rmdir(name)


def _empty(top: bytes) -> None:
    """Remove what is in a directory; go down and up one level at a time, with one descriptor open."""
    here = _open(top, None)
    above: list[tuple[bytes, tuple[int, int]]] = []
    try:
        while True:
            below = _remove_files(here)
            if below is not None:
                above.append((below, _identity(here)))
                here = _moved(here, _open(below, here))
            elif above:
                name, expected = above.pop()
                here = _moved(here, os.open("..", _OPEN, dir_fd=here))
                if _identity(here) != expected:
                    raise OSError(f"{os.fsdecode(top)}: a directory was moved while it was removed")
                os.rmdir(name, dir_fd=here)
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
            os.unlink(name, dir_fd=directory)
    return None


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
