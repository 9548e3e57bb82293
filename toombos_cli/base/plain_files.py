"""Opens files that are what their name says: no link is followed, and no FIFO or device is opened or waited for.

It is for the files of a project and for those that toombos keeps itself, such as locks, records and logs.
"""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from toombos_cli.base.errors import RefusedError
from toombos_cli.base.quoting import joined
from toombos_cli.base.text import printable

READ, APPEND, UPDATE = os.O_RDONLY, os.O_WRONLY | os.O_APPEND | os.O_CREAT, os.O_RDWR
"""Flags for `open_plain`."""

MOST_BYTES = 16 * 1024 * 1024
"""The largest file that is read whole where nothing else is said."""


class StrangeFileError(RefusedError, OSError):
    """A link, a FIFO or a device has the name of a file of toombos.

    It is an OSError too, so that a supervisor that can go on without the file goes on.
    """

    def __init__(self, path: Path, flaw: str) -> None:
        super().__init__(flaw, where=printable(str(path)), hint=joined(("ls", "-l", str(path))))
        self.errno, self.strerror, self.filename = errno.ELOOP, flaw, str(path)


def open_plain(path: Path, flags: int, mode: int = 0o600, *, follows_link: bool = False) -> int:
    """Return a descriptor of the file or directory that has this name. Raise StrangeFileError, and OSError."""
    link = 0 if follows_link else os.O_NOFOLLOW
    try:
        fd = os.open(path, flags | link | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError:
        _refuse_strange(path, follows_link)
        raise
    if flaw := strange_kind(os.fstat(fd)):
        os.close(fd)
        raise StrangeFileError(path, flaw)
    return fd


def open_plain_file(path: Path) -> BinaryIO:
    """Return the file, open for reading. Raise as `open_plain`."""
    return os.fdopen(open_plain(path, READ), "rb")


def read_plain(
    path: Path,
    most_bytes: int | None = MOST_BYTES,
    *,
    follows_link: bool = False,
    check: Callable[[os.stat_result], None] = lambda found: None,
) -> bytes:
    """Return the content of the file. Raise as `open_plain`, and OSError (EFBIG) if it is longer than `most_bytes`.

    `check` sees the status of the opened file, and may raise.
    """
    with os.fdopen(open_plain(path, READ, follows_link=follows_link), "rb") as file:
        check(os.fstat(file.fileno()))
        content = file.read(-1 if most_bytes is None else most_bytes + 1)
    if most_bytes is not None and len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"is longer than {most_bytes} bytes", str(path))
    return content


def strange_kind(found: os.stat_result) -> str | None:
    """Return what stands in the place of a file of toombos, if it is a link, a FIFO or a device, else None."""
    if stat.S_ISLNK(found.st_mode):
        return "is a symbolic link, which toombos does not follow here"
    if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode) or stat.S_ISSOCK(found.st_mode):
        return None
    return "is a FIFO or a device, not a file"


def obstacle(found: os.stat_result) -> str | None:
    """Return what stands in the place of a file of toombos, if it is no file, else None."""
    return strange_kind(found) or (None if stat.S_ISREG(found.st_mode) else "is a directory or a socket, not a file")


def _refuse_strange(path: Path, follows_link: bool) -> None:
    """Raise StrangeFileError if that is why the file could not be opened."""
    try:
        flaw = strange_kind(path.stat(follow_symlinks=follows_link))
    except OSError:
        return
    if flaw:
        raise StrangeFileError(path, flaw) from None
