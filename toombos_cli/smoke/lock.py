"""One smoke test at a time in a project: two would count each other's requests."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toombos_cli.errors import LockedError, OperationError


@contextmanager
def smoke_lock(project: Path) -> Iterator[None]:
    """Holds `run/smoke.lock`; the kernel lets go of it however the process ends.

    Raises LockedError that names the holder's pid, OperationError when the lock cannot be made.
    """
    path = project / "run" / "smoke.lock"
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OperationError(f"the smoke test's lock cannot be made: {error.strerror}", where=str(path)) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            raise LockedError(f"another smoke test of this project runs (pid {pid})", hint=f"ps -fp {pid}") from None
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
