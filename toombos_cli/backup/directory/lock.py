"""One backup or restore at a time, and files in use without that. The kernel drops a lock with its holder."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from toombos_cli.backup.durable import disk_errors
from toombos_cli.base.errors import LockedError


@contextlib.contextmanager
def exclusive(path: Path, doing: str) -> Iterator[None]:
    """Holds the lock file at `path`; LockedError naming the holder's pid when another process has it."""
    with disk_errors("the lock cannot be taken", path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 200, 0).decode(errors="replace").strip() or "unknown"
            raise LockedError(
                f"another toombos is at work here: {holder}", where=str(path), hint="wait for it, then repeat"
            ) from None
        with contextlib.suppress(OSError):  # on a full disk the lock holds all the same, without a name in it
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"pid {os.getpid()} ({doing})\n".encode(), 0)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Keeps a file or directory of one operation from being cleared up as a leftover by another."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


def is_in_use(path: Path) -> bool:
    """Whether a process that lives uses it; False for what is not there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
