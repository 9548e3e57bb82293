"""Writes that are whole or absent after a crash: temporary file, fsync, rename, fsync of the directory."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from toombos_cli.errors import OperationError


def sync_directory(directory: Path | bytes) -> None:
    """Makes names created, renamed or removed in a directory survive a power cut."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file's content in one step; mode 0600."""
    partial = path.with_name(f".{path.name}.partial")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def point_link(link: Path, target: str) -> None:
    """Repoints a symbolic link in one step; there is no moment without it."""
    partial = link.with_name(f".{link.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.rename(link)
    sync_directory(link.parent)


@contextlib.contextmanager
def disk_errors(doing: str, where: Path) -> Iterator[None]:
    """Turns an OSError of the disk into an error that says what was being done, and what to do about it."""
    try:
        yield
    except OSError as error:
        hint = None
        if error.errno in _FULL:
            hint = f"df -h {where}"
        raise OperationError(
            f"{doing}: {error.strerror or error}", where=str(error.filename or where), hint=hint
        ) from None


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
