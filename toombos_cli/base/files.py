"""Files that are whole or absent after a crash, private unless the caller says otherwise, or grow by whole lines."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from toombos_cli.base import locks
from toombos_cli.base.directories import make_private_directory, sync_directory

PRIVATE = 0o600
_PATIENCE_S = 10.0


def replace_file(
    path: Path, content: bytes, *, durable: bool, mode: int | None = PRIVATE, owner: tuple[int, int] | None = None
) -> None:
    """Replaces the file by this content in one step; the parameters are those of `replacing`. Raises OSError."""
    with replacing(path, durable=durable, mode=mode, owner=owner) as file:
        file.write(content)


def create_file(path: Path, content: bytes, *, mode: int | None = PRIVATE) -> None:
    """Makes a whole durable file under a name that is free. Raises FileExistsError and other OSErrors."""
    with replacing(path, durable=True, mode=mode, is_new=True) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(
    path: Path,
    *,
    durable: bool,
    mode: int | None = PRIVATE,
    owner: tuple[int, int] | None = None,
    is_new: bool = False,
) -> Iterator[BinaryIO]:
    """Yields a file that takes the name when the block ends; after any error the old file is as it was.

    `durable`: the content and its name are on the disk then. `mode` holds whatever the umask is; None leaves it to the
    umask. `owner` is a user and a group id. Missing directories are made, private ones. Raises OSError.

    The content is written to `.NAME.partial`. The name is fixed, so that a crash leaves at most one such file, which
    the next write takes over, and it is locked, so that two writers take turns and others see that it is in use.
    """
    make_private_directory(path.parent)
    partial = path.with_name(f".{path.name}.partial")
    fd = _take_over(partial, mode)
    try:
        with os.fdopen(fd, "wb", closefd=False) as file:
            if mode is not None:
                os.fchmod(fd, mode)
            if owner is not None:
                os.fchown(fd, *owner)
            yield file
            file.flush()
            if durable:
                os.fsync(fd)
        if is_new:
            os.link(partial, path)
            partial.unlink()
        else:
            partial.replace(path)
    except BaseException:
        if locks.is_at(partial, fd):
            partial.unlink()
        raise
    finally:
        os.close(fd)
    if durable:
        sync_directory(path.parent)


def _take_over(partial: Path, mode: int | None) -> int:
    """Returns the file to write to, empty and locked.

    A leftover of another user, or one that a crash left with a second name, is removed instead: it is not ours alone.
    """
    while True:
        try:
            fd = locks.wait_for(partial, patience_s=_PATIENCE_S, mode=0o666 if mode is None else PRIVATE)
        except PermissionError:
            if not os.path.lexists(partial):
                raise
        else:
            found = os.fstat(fd)
            if found.st_uid == os.geteuid() and found.st_nlink == 1:
                os.ftruncate(fd, 0)
                return fd
            os.close(fd)
        partial.unlink(missing_ok=True)


def append_line(path: Path, line: bytes) -> None:
    """Adds one line, or several that belong together, in one write, so that those of several writers never mix.

    The shared lock lets `take_lines` wait until no line is half way between opening and writing. Raises OSError.
    """
    make_private_directory(path.parent)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    fd = locks.wait_for(path, shared=True, patience_s=_PATIENCE_S, flags=flags)
    try:
        if os.write(fd, line + b"\n") <= len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(fd)


def take_lines(path: Path, aside: Path) -> tuple[bytes, ...]:
    """Moves the lines that were appended so far to `aside`, which the caller removes when they are dealt with.

    What an earlier caller left in `aside` comes first, by itself. Raises OSError.
    """
    if not aside.exists():
        try:
            fd = locks.wait_for(path, patience_s=_PATIENCE_S, flags=locks.AS_IT_IS)
        except FileNotFoundError:
            return ()
        try:
            path.replace(aside)
        finally:
            os.close(fd)
    return tuple(aside.read_bytes().splitlines())


def open_to_append(path: Path) -> int:
    """Returns a descriptor that appends to a file, which is made private where it is new. Raises OSError."""
    make_private_directory(path.parent)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
