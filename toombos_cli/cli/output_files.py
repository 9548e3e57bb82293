"""The files that an option such as `--junit FILE` names for the command to write; `-` is stdout."""

import errno
import os
import stat
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from toombos_cli.base.directories import make_private_directory
from toombos_cli.base.errors import OperationError, Problem, UsageError
from toombos_cli.base.files import replace_file

if TYPE_CHECKING:
    from toombos_cli.cli.invocation import Invocation


STDOUT = Path("-")


def give_stdout_away(
    invocation: "Invocation",
    files: Mapping[str, Path | None],
    *,
    format: str | None = None,  # noqa: A002 (the option's name)
) -> None:
    """Print the report on stderr if the FILE of an option is `-`: stdout is for that document alone.

    Raises UsageError if stdout is wanted twice, also by `--json` or another `format`.
    """
    wanting = [option for option, path in files.items() if path == STDOUT]
    if not wanting:
        return
    shown = format or invocation.format
    others = wanting[1:] + ([f"--format {shown}" if format else "--json"] if shown != "text" else [])
    if others:
        raise UsageError(f"{wanting[0]} - and {others[0]} would both write to stdout", hint="give one of them a file")
    invocation.print_on_stderr()


def refuse_unwritable(option: str, path: Path | None) -> None:
    """Raise UsageError if the file cannot be written: found out at the end, minutes of work would be lost."""
    if path is None or path == STDOUT:
        return
    where = f"{option} {path}"
    if path.is_dir():
        raise UsageError("is a directory", where=where, hint="give a file")
    if path.exists() and not os.access(path, os.W_OK):
        raise UsageError("is not writable for this user", where=where, hint="give another file")
    if not path.exists() and not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        hint = "create the directory, or give another one"
        raise UsageError("its directory does not exist or is not writable", where=where, hint=hint)


def prepare_output(option: str, path: Path | None) -> None:
    """Create the file's directory, then check as `refuse_unwritable` does. Raises OperationError, UsageError."""
    if path is None or path == STDOUT:
        return
    try:
        make_private_directory(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from None
    refuse_unwritable(option, path)


def write_output(path: Path, content: bytes) -> None:
    """Replace the file in one step, readable only for its owner; write to a pipe or a device (/dev/stdout) in place.

    `-` is stdout. Raises OperationError.
    """
    if path == STDOUT:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    try:
        if _is_written_in_place(path):
            with os.fdopen(_open_in_place(path), "ab") as stream:
                stream.write(content)
        else:
            replace_file(path.resolve(), content, durable=True)
    except OSError as error:
        raise _unwritable(path, error) from None


def _open_in_place(path: Path) -> int:
    """Return a descriptor of the pipe or device, opened for appending; wait until a pipe has a reader.

    Polling, because a signal that arrives just before a blocking open() would not end it.
    """
    while True:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO or not path.is_fifo():
                raise
            time.sleep(0.05)
        else:
            os.set_blocking(fd, True)
            return fd


def write_outputs(documents: Iterable[tuple[Path, str]]) -> list[Problem]:
    """Write each text to its file, as `write_output` does, and return a problem for each that cannot be written."""
    problems: list[Problem] = []
    for path, text in documents:
        try:
            write_output(path, text.encode("utf-8", "backslashreplace"))
        except OperationError as error:
            problems += error.problems
    return problems


def _unwritable(path: Path, error: OSError) -> OperationError:
    return OperationError(f"cannot be written: {error.strerror}", where=str(path), hint="give another file")


def _is_written_in_place(path: Path) -> bool:
    """Report whether it must not be replaced by a new file: a device, a pipe, or what stdout or stderr is now."""
    try:
        found = path.stat()
    except OSError:
        return False
    ours = [os.fstat(stream.fileno()) for stream in (sys.__stdout__, sys.__stderr__) if stream is not None]
    return not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)) or any(
        os.path.samestat(found, other) for other in ours
    )
