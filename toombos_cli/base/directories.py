"""Directories that only their owner may enter, and names in them that survive a power cut."""

import errno
import os
from pathlib import Path


def make_private_directory(path: Path) -> None:
    """Makes the directory and its missing parents, each with mode 0700 whatever the umask. Raises OSError.

    Not `Path.mkdir(parents=True)`: that gives its mode to the last directory alone.
    """
    if path.is_dir():
        return
    make_private_directory(path.parent)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None
    else:
        path.chmod(0o700)


def sync_directory(directory: Path | bytes) -> None:
    """Makes names that were created, renamed or removed in a directory survive a power cut. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
