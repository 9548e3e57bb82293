"""Advisory locks that are never stale: the kernel releases a lock when the last process with its file open ends.

`take` returns a descriptor, which a child process may inherit together with the lock. `hold`, `share` and `hold_alone`
hold a lock for a block. All of them lock the file that has the name at that moment, because a lock on a removed file
excludes nobody.
"""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from toombos_cli.base.directories import make_private_directory
from toombos_cli.base.errors import LockedError, OperationError
from toombos_cli.base.plain_files import READ, StrangeFileError, open_plain, read_plain
from toombos_cli.base.quoting import quoted

LOCK_FILE = os.O_RDWR | os.O_CREAT
"""Flags for a file that exists only for its lock and is created if missing."""
AS_IT_IS = READ
"""Flags for a file or directory with another purpose, which is never created."""

_GLANCE_S = 0.5  # `is_held` takes the lock for an instant
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 0.1


def take(
    path: Path, *, shared: bool = False, patience_s: float = 0.0, flags: int = LOCK_FILE, mode: int = 0o600
) -> int | None:
    """Return a descriptor that holds the lock until it and all inherited copies are closed, or None if it is taken.

    A new file gets `mode`. Raise OSError, StrangeFileError for a link or a FIFO.
    """
    deadline, pause_s = time.monotonic() + patience_s, _FIRST_PAUSE_S
    operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    while True:
        fd = open_plain(path, flags, mode)
        try:
            fcntl.flock(fd, operation)
        except BlockingIOError:
            os.close(fd)
            if time.monotonic() >= deadline:
                return None
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        except BaseException:
            os.close(fd)
            raise
        else:
            if is_at(path, fd):
                return fd
            os.close(fd)  # removed or replaced between the two calls


def is_at(path: Path, fd: int) -> bool:
    """Report whether the descriptor's file still has this name."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


def wait_for(path: Path, *, patience_s: float, shared: bool = False, flags: int = LOCK_FILE, mode: int = 0o600) -> int:
    """Return a descriptor as `take` does. Raise TimeoutError if other processes hold the lock for too long."""
    fd = take(path, shared=shared, patience_s=patience_s, flags=flags, mode=mode)
    if fd is None:
        raise TimeoutError(errno.ETIMEDOUT, "has been locked by another process for too long", str(path))
    return fd


@contextlib.contextmanager
def hold(path: Path, *, patience_s: float = 1.0) -> Iterator[None]:
    """Hold an exclusive lock on a lock file or directory for the block. Raise OSError, TimeoutError as `wait_for`."""
    fd = _wait_for_any(path, patience_s, shared=False)
    try:
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def share(path: Path, *, patience_s: float = 10.0) -> Iterator[None]:
    """Hold a shared lock for the block. Raise TimeoutError as `wait_for` does.

    No write permission is needed: a lock file that is missing and cannot be created is held by nobody else either.
    """
    try:
        fd = _wait_for_any(path, patience_s, shared=True)
    except (TimeoutError, StrangeFileError):
        raise
    except OSError:  # a read-only or full disk, or the project of another user
        yield
        return
    try:
        yield
    finally:
        os.close(fd)


def _wait_for_any(path: Path, patience_s: float, *, shared: bool) -> int:
    if path.is_dir():
        return wait_for(path, shared=shared, patience_s=patience_s, flags=AS_IT_IS)
    try:
        make_private_directory(path.parent)
        return wait_for(path, shared=shared, patience_s=patience_s)
    except (TimeoutError, StrangeFileError):
        raise
    except OSError:
        if not shared:
            raise
    return wait_for(path, shared=True, patience_s=patience_s, flags=AS_IT_IS)


@contextlib.contextmanager
def hold_alone(path: Path, doing: str) -> Iterator[None]:
    """Hold the lock for an operation such as `smoke test`, and write this process and the operation to its file.

    Raise LockedError naming the process that holds it, OperationError if the file cannot be created.
    """
    try:
        make_private_directory(path.parent)
        fd = take(path, patience_s=_GLANCE_S)
    except StrangeFileError:
        raise
    except OSError as error:
        hint = "df -h ." if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
        place = str(error.filename or path)
        raise OperationError(f"the lock cannot be taken: {error.strerror}", where=place, hint=hint) from None
    if fd is None:
        raise _locked(path)
    try:
        with contextlib.suppress(OSError):  # the lock is valid without the note, for example on a full disk
            note = f"{os.getpid()} {doing}\n".encode()
            os.pwrite(fd, note, 0)
            os.ftruncate(fd, len(note))
        yield
    finally:
        os.close(fd)


def _locked(path: Path) -> LockedError:
    """Return the error that names the process that holds the lock, from the lock's file."""
    try:
        pid, _, doing = read_plain(path).decode("ascii", "replace").strip().partition(" ")
    except OSError:
        pid = doing = ""
    who = f"pid {pid} ({doing})" if pid.isdigit() else "another process"
    hint = f"ps -fp {pid}" if pid.isdigit() else f"fuser -v {quoted(path)}"
    return LockedError(f"another toombos is at work here: {who}", where=str(path), hint=hint)


def is_held(path: Path) -> bool:
    """Report whether a living process holds the lock, exclusive or shared; False if there is no such file."""
    try:
        fd = take(path, flags=AS_IT_IS)
    except OSError:
        return False
    if fd is None:
        return True
    os.close(fd)
    return False
