"""One of a kind at a time in a project: two smoke tests would count each other's requests, and the like."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toombos_cli.base.errors import LockedError, OperationError


@contextmanager
def project_lock(project: Path, name: str, what: str) -> Iterator[None]:
    """Holds `run/NAME.lock`; the kernel lets go of it however the process ends. `what` is what a person calls it.

    Raises LockedError that names the holder's pid, OperationError when the lock cannot be made.
    """
    path = project / "run" / f"{name}.lock"
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OperationError(f"the lock of the {what} cannot be made: {error.strerror}", where=str(path)) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            raise LockedError(f"another {what} of this project runs (pid {pid})", hint=f"ps -fp {pid}") from None
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
