"""Advisory locks that are never stale: the kernel drops one when the last process that has its file open ends.

`take` returns a descriptor, which a child process may inherit together with the lock. `hold`, `share` and `hold_alone`
keep a lock for a block. All of them lock the file that has the name at that moment: a lock on a removed file excludes
nobody.
"""

import contextlib
import errno
import fcntl
import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

from toombos_cli.base.directories import make_private_directory
from toombos_cli.base.errors import LockedError, OperationError

LOCK_FILE = os.O_RDWR | os.O_CREAT
"""Flags for a file that exists for its lock, and is made when it is missing."""
AS_IT_IS = os.O_RDONLY
"""Flags for a file or directory that exists for something else, and is never made."""

_GLANCE_S = 0.5  # `is_held` has the lock for an instant
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 0.1


def take(
    path: Path, *, shared: bool = False, patience_s: float = 0.0, flags: int = LOCK_FILE, mode: int = 0o600
) -> int | None:
    """Returns a descriptor that holds the lock until it and every inherited copy is closed; None when it is taken.

    A file that is made gets `mode`. Raises OSError.
    """
    deadline, pause_s = time.monotonic() + patience_s, _FIRST_PAUSE_S
    operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    while True:
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
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
    """Reports whether the descriptor's file still has this name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def wait_for(path: Path, *, patience_s: float, shared: bool = False, flags: int = LOCK_FILE, mode: int = 0o600) -> int:
    """Returns a descriptor as `take` does. Raises TimeoutError when other processes keep the lock for too long."""
    fd = take(path, shared=shared, patience_s=patience_s, flags=flags, mode=mode)
    if fd is None:
        raise TimeoutError(errno.ETIMEDOUT, "is locked by another process for too long", str(path))
    return fd


@contextlib.contextmanager
def hold(path: Path, *, patience_s: float = 1.0) -> Iterator[None]:
    """Holds the lock of a lock file or directory alone for the block. Raises OSError, TimeoutError as `wait_for`."""
    fd = _wait_for_any(path, patience_s, shared=False)
    try:
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def share(path: Path, *, patience_s: float = 10.0) -> Iterator[None]:
    """Holds the lock for the block together with others who share it. Raises TimeoutError as `wait_for`.

    Needs no right to write: a lock file that is missing and cannot be made is held by nobody else either.
    """
    try:
        fd = _wait_for_any(path, patience_s, shared=True)
    except TimeoutError:
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
    except TimeoutError:
        raise
    except OSError:
        if not shared:
            raise
    return wait_for(path, shared=True, patience_s=patience_s, flags=AS_IT_IS)


@contextlib.contextmanager
def hold_alone(path: Path, doing: str) -> Iterator[None]:
    """Holds the lock for an operation such as `smoke test`, and writes this process and the operation into its file.

    Raises LockedError that names the process that has it, OperationError when the file cannot be made.
    """
    try:
        make_private_directory(path.parent)
        fd = take(path, patience_s=_GLANCE_S)
    except OSError as error:
        hint = "df -h ." if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
        place = str(error.filename or path)
        raise OperationError(f"the lock cannot be taken: {error.strerror}", where=place, hint=hint) from None
    if fd is None:
        raise _locked(path)
    try:
        with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
            note = f"{os.getpid()} {doing}\n".encode()
            os.pwrite(fd, note, 0)
            os.ftruncate(fd, len(note))
        yield
    finally:
        os.close(fd)


def _locked(path: Path) -> LockedError:
    """Returns the error that names the process that has the lock, as the lock's file says."""
    try:
        pid, _, doing = path.read_text("ascii", "replace").strip().partition(" ")
    except OSError:
        pid = doing = ""
    who = f"pid {pid} ({doing})" if pid.isdigit() else "another process"
    hint = f"ps -fp {pid}" if pid.isdigit() else f"fuser -v {shlex.quote(str(path))}"
    return LockedError(f"another toombos is at work here: {who}", where=str(path), hint=hint)


def is_held(path: Path) -> bool:
    """Reports whether a living process holds the lock, alone or shared; False when there is no such file."""
    try:
        fd = take(path, flags=AS_IT_IS | os.O_NONBLOCK)
    except OSError:
        return False
    if fd is None:
        return True
    os.close(fd)
    return False
