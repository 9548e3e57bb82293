"""`config trust`: the user's list of directories that are trusted regardless of their owner."""

import os
from pathlib import Path

from toombos_cli.base import locks
from toombos_cli.base.directories import make_private_directory
from toombos_cli.base.errors import OperationError, UsageError
from toombos_cli.base.files import replace_file
from toombos_cli.base.fixes import here
from toombos_cli.base.trust import noted_directories, noted_file
from toombos_cli.config.reports import TrustReport


def run_trust(directory: Path | None, *, remove: bool) -> TrustReport:
    """Note the directory, or with `remove` forget it; without one, only return the list.

    Raises UsageError for a directory that cannot be noted, OperationError if the list cannot be written.
    """
    path = noted_file()
    if path is None:
        raise OperationError("this user has no home directory for the list", hint="set XDG_CONFIG_HOME")
    if directory is None:
        if remove:
            raise UsageError("--remove needs a directory", hint=here("config", "trust"))
        return TrustReport(path=path, directories=noted_directories())
    wanted = _absolute(directory, must_exist=not remove)
    try:
        make_private_directory(path.parent)
        with locks.hold(path.parent):
            before = noted_directories()
            others = tuple(name for name in before if name != wanted)
            after = others if remove else (*others, wanted)
            if changed := set(after) != set(before):
                replace_file(path.resolve(), b"".join(os.fsencode(name) + b"\n" for name in after), durable=True)
    except OSError as error:
        raise OperationError(f"the list cannot be written: {error.strerror}", where=str(path)) from None
    return TrustReport(path=path, directories=after, directory=wanted, removed=remove, changed=changed)


def _absolute(directory: Path, *, must_exist: bool) -> str:
    """Return the directory as projects are looked up in the list: absolute, without links."""
    if must_exist and not directory.is_dir():
        raise UsageError("not a directory", where=str(directory))
    absolute = str(directory.resolve())
    if "\n" in absolute:
        raise UsageError("a directory with a line break in its name cannot be noted", where=absolute)
    return absolute
