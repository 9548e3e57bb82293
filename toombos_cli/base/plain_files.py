"""Opens files that are what their name says: no link is followed, and no FIFO or device is opened or waited for.

It is for the files that toombos itself keeps, such as locks, records and logs.
"""

import errno
import os
from pathlib import Path
from typing import BinaryIO

from toombos_cli.base.text import printable
from toombos_cli.base.trust import UntrustedError, strange_kind

READ, APPEND, UPDATE = os.O_RDONLY, os.O_WRONLY | os.O_APPEND | os.O_CREAT, os.O_RDWR
"""Flags for `open_plain`."""


class StrangeFileError(UntrustedError, OSError):
    """A link, a FIFO or a device has the name of a file of toombos.

    It is an OSError too, so that a supervisor that can go on without the file goes on.
    """

    def __init__(self, path: Path, flaw: str) -> None:
        super().__init__(flaw, where=printable(str(path)), hint=f"ls -l {printable(str(path))}")
        self.errno, self.strerror, self.filename = errno.ELOOP, flaw, str(path)


def open_plain(path: Path, flags: int, mode: int = 0o600) -> int:
    """Return a descriptor of the file or directory that has this name. Raise StrangeFileError, and OSError."""
    try:
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError:
        _refuse_strange(path)
        raise
    if flaw := strange_kind(os.fstat(fd)):
        os.close(fd)
        raise StrangeFileError(path, flaw)
    return fd


def open_plain_file(path: Path) -> BinaryIO:
    """Return the file, open for reading. Raise as `open_plain`."""
    return os.fdopen(open_plain(path, READ), "rb")


def read_plain(path: Path) -> bytes:
    """Return the content of the file. Raise as `open_plain`."""
    with open_plain_file(path) as file:
        return file.read()


def _refuse_strange(path: Path) -> None:
    """Raise StrangeFileError if that is why the file could not be opened."""
    try:
        flaw = strange_kind(os.lstat(path))
    except OSError:
        return
    if flaw:
        raise StrangeFileError(path, flaw) from None
