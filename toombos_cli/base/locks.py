"""Advisory locks that are never stale: the kernel drops them with the last process that holds the file open."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PATIENCE_S = 1.0
_PATIENCE_TO_SHARE_S = 10.0  # a busy disk may take seconds for what somebody does alone
_RETRY_S = 0.005


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


@contextmanager
def hold(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Holds the lock for a moment, waiting for the others: one alone, or all who share it.

    Raises OSError, TimeoutError when somebody has it for longer than a second, or ten to share it. Sharing needs no
    right to write.
    """
    fd = _open(path, shared=shared)
    if fd is None:
        yield
        return
    try:
        deadline = time.monotonic() + (_PATIENCE_TO_SHARE_S if shared else _PATIENCE_S)
        while True:
            try:
                fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{path} is held for too long") from None
                time.sleep(_RETRY_S)
        yield
    finally:
        os.close(fd)


def _open(path: Path, *, shared: bool) -> int | None:
    """The lock's file; None to share one that was never made and cannot be: nobody has it alone either."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:  # a read-only or full disk, or another user's project
        if not shared:
            raise
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
