"""Private directories, and directory entries that survive a power cut."""

import errno
import os
from pathlib import Path


def make_private_directory(path: Path) -> None:
    """Create the directory and its missing parents, each with mode 0700 whatever the umask. Raise OSError.

    `Path.mkdir(parents=True)` would apply its mode only to the last directory.
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
    """Make created, renamed and removed names in a directory survive a power cut. Raise OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
