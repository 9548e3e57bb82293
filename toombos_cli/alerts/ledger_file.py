"""The ledger's file: only the one sender at work, which holds the lock, writes it, and anybody may read it."""

from pathlib import Path

from toombos_cli.alerts.ledger import Ledger
from toombos_cli.base.errors import OperationError
from toombos_cli.base.files import replace_file
from toombos_cli.base.own_records import encode_own, read_own
from toombos_cli.base.untrusted import UntrustedError
from toombos_cli.project.alert_spool import AlertDirectory


def read_ledger(project: Path, *, strict: bool = False) -> Ledger:
    """Return the ledger as last written, or an empty one if there is none.

    An unreadable ledger counts as empty, so that alerts go on; with `strict`, raise OperationError instead.
    """
    path = AlertDirectory(project).ledger
    try:
        return read_own(path, Ledger)
    except FileNotFoundError:
        return Ledger()
    except (OSError, UntrustedError) as error:
        if strict:
            reason = error.strerror if isinstance(error, OSError) else "it is damaged; the next alert starts a new one"
            raise OperationError(f"the open alerts cannot be read: {reason}", where=str(path)) from None
        return Ledger()


def write_ledger(directory: AlertDirectory, ledger: Ledger) -> None:
    """Replaces the ledger; the caller holds the lock. Raises OSError."""
    replace_file(directory.ledger, encode_own(ledger), durable=True)
