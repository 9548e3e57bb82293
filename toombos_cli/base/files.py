"""Writes files that are complete or absent after a crash and private by default, and appends whole lines."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from toombos_cli.base import locks
from toombos_cli.base.directories import make_private_directory, sync_directory
from toombos_cli.base.plain_files import APPEND, open_plain, read_plain

PRIVATE = 0o600
_PATIENCE_S = 10.0


def replace_file(
    path: Path, content: bytes, *, durable: bool, mode: int | None = PRIVATE, owner: tuple[int, int] | None = None
) -> None:
    """Replace the file with this content in one step; the parameters are those of `replacing`. Raise OSError."""
    with replacing(path, durable=durable, mode=mode, owner=owner) as file:
        file.write(content)


def create_file(path: Path, content: bytes, *, mode: int | None = PRIVATE) -> None:
    """Create a complete, durable file under a free name. Raise FileExistsError and other OSErrors."""
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
    """Yield a file that gets the name when the block ends; after any error the old file is unchanged.

    `durable`: the content and its name are then on the disk. `mode` applies whatever the umask is; None means that the
    umask decides, but never lets everybody write. `owner` is a user and a group id. Missing directories are created,
    private. Raise OSError.

    The content is written to `.NAME.partial`. The name is fixed, so that a crash leaves at most one such file, which
    the next write reuses. It is locked, so that two writers take turns and others see that it is in use.
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
    """Return a descriptor of the file to write to, empty and locked.

    A leftover of another user, or one with a second name after a crash, is removed first, because it is shared.
    """
    while True:
        try:
            fd = locks.wait_for(partial, patience_s=_PATIENCE_S, mode=0o664 if mode is None else PRIVATE)
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
    """Append one line, or several that belong together, in one write, so that lines of several writers never mix.

    The shared lock makes `take_lines` wait for writers that have opened the file but not yet written. Raise OSError.
    """
    make_private_directory(path.parent)
    fd = locks.wait_for(path, shared=True, patience_s=_PATIENCE_S, flags=APPEND)
    try:
        if os.write(fd, line + b"\n") <= len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(fd)


def take_lines(path: Path, aside: Path) -> tuple[bytes, ...]:
    """Move the lines appended so far to `aside` and return them; the caller removes `aside` after processing them.

    If an earlier caller left lines in `aside`, return only those. Raise OSError.
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
    return tuple(read_plain(aside, None).splitlines())


@contextlib.contextmanager
def creating_privately() -> Iterator[None]:
    """Make files that a library creates in the block private: they get the mode that the umask leaves of theirs."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def open_to_append(path: Path) -> int:
    """Return a descriptor that appends to a file; a new file is private. Raise OSError, StrangeFileError for a link."""
    make_private_directory(path.parent)
    return open_plain(path, APPEND)
