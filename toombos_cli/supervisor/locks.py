"""Advisory locks that are never stale: the kernel drops them with the last process that holds the file open."""

import fcntl
import os
from pathlib import Path


def take(path: Path) -> int | None:
    """A descriptor that holds the lock until it (and every inherited copy) is closed; None when another has it.

    Raises OSError when the file cannot be made.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def is_at(path: Path, fd: int) -> bool:
    """Whether the descriptor's file is the one of this name: a lock on a removed file keeps nobody out."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
