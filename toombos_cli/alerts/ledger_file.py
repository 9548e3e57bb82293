"""The ledger's file and its lock: only the one running sender writes it, and anyone may read it."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from toombos_cli.alerts.ledger import Ledger
from toombos_cli.base.errors import OperationError
from toombos_cli.base.files import write_private
from toombos_cli.project.alert_spool import AlertDirectory

_POLL_S = 0.1


@contextlib.contextmanager
def sender_lock(directory: AlertDirectory, *, within_s: float) -> Iterator[bool]:
    """Yield whether the sender lock was acquired in time; only its owner writes the ledger. Raise OSError."""
    deadline = time.monotonic() + within_s
    lock = os.open(directory.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    yield False
                    return
                time.sleep(_POLL_S)
            else:
                yield True
                return
    finally:
        os.close(lock)


def read_ledger(project: Path, *, strict: bool = False) -> Ledger:
    """Return the ledger as last written, or an empty one if there is none.

    An unreadable ledger counts as empty, so that alerts go on; with `strict`, raise OperationError instead.
    """
    path = AlertDirectory(project).ledger
    try:
        return msgspec.json.decode(path.read_bytes(), type=Ledger)
    except FileNotFoundError:
        return Ledger()
    except (OSError, msgspec.DecodeError) as error:
        if strict:
            reason = error.strerror if isinstance(error, OSError) else "it is damaged; the next alert starts a new one"
            raise OperationError(f"the open alerts cannot be read: {reason}", where=str(path)) from None
        return Ledger()


def write_ledger(directory: AlertDirectory, ledger: Ledger) -> None:
    """Replace the ledger; the caller holds the lock. Raise OSError."""
    write_private(directory.ledger, msgspec.json.encode(ledger))
