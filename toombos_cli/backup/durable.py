"""What a backup forces to the disk beyond one file, and what it says when the disk refuses."""

import contextlib
import ctypes
import errno
import functools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from toombos_cli.base.directories import sync_directory
from toombos_cli.base.errors import OperationError
from toombos_cli.base.text import printable


def can_sync_filesystem() -> bool:
    """Report whether one call syncs a whole file system and reports errors: Linux 5.8 or later (man 2 syncfs)."""
    return _syncfs() is not None


def sync_filesystem(directory: Path | bytes) -> None:
    """Make everything written to a directory's file system survive a power cut: faster than many single fsyncs.

    Raises OSError, or RuntimeError if `can_sync_filesystem` is false.
    """
    syncfs = _syncfs()
    if syncfs is None:
        raise RuntimeError("this system cannot sync a file system and report errors")
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), os.fsdecode(directory))
    finally:
        os.close(fd)


@functools.cache
def _syncfs() -> Callable[[int], int] | None:
    release = re.match(r"(\d+)\.(\d+)", os.uname().release) if os.uname().sysname == "Linux" else None
    if release is None or (int(release[1]), int(release[2])) < (5, 8):
        return None
    try:
        function = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        return None
    function.argtypes, function.restype = (ctypes.c_int,), ctypes.c_int
    return function


def point_link(link: Path, target: str) -> None:
    """Point a symbolic link to a new target in one step; it never disappears."""
    partial = link.with_name(f".{link.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.rename(link)
    sync_directory(link.parent)


@contextlib.contextmanager
def disk_errors(doing: str, where: Path) -> Iterator[None]:
    """Turn an OSError into an OperationError that says what was being done, and how to look into a full disk."""
    try:
        yield
    except OSError as error:
        hint = None
        if error.errno in _FULL:
            hint = f"df -h {where}"
        place = printable(os.fsencode(error.filename or where))
        raise OperationError(f"{doing}: {error.strerror or error}", where=place, hint=hint) from None


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
