"""Swaps a live path with a staged one atomically, and swaps it back.

Linux exchanges two paths in one step (renameat2 with RENAME_EXCHANGE, man 2 renameat2). If the system or the file
system does not support that, two renames are used, and the live path is missing for a moment between them; a kill at
that moment is repaired from the journal, which knows every path by its inode.
"""

import ctypes
import errno
import functools
import os
from collections.abc import Callable

import msgspec

from toombos_cli.base.errors import OperationError
from toombos_cli.base.quoting import quoted

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})

Identity = tuple[int, int]


class SwapUnit(msgspec.Struct, frozen=True, kw_only=True):
    """One path that is replaced as a whole.

    `staged` has the new content and, after an exchange, the old. `aside` is where the old content goes if it is moved
    rather than exchanged. The identities (device, inode) show which is which after a kill; None means no such file.
    """

    live: bytes
    staged: bytes
    aside: bytes
    live_id: Identity | None
    staged_id: Identity | None


def identity(path: bytes) -> Identity | None:
    """Return device and inode of a path without following links, or None if it does not exist."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def swap(unit: SwapUnit, *, atomic: bool = True) -> None:
    """Move the staged content to the live path. `atomic=False` does it as on systems without an exchange."""
    if unit.live_id and unit.staged_id:
        if not (atomic and exchange(unit.live, unit.staged)):
            os.rename(unit.live, unit.aside)
            os.rename(unit.staged, unit.live)
    elif unit.staged_id:
        os.rename(unit.staged, unit.live)
    elif unit.live_id:
        os.rename(unit.live, unit.aside)


def swap_back(unit: SwapUnit) -> None:
    """Move the old content back, wherever a swap was interrupted; do nothing if it is in place.

    If the swap never reached this path, content that appeared there in the meantime stays. Raise OperationError if old
    and new cannot be distinguished: nothing may be removed then.
    """
    if _lies_at(unit.live, unit.live_id):
        return
    if unit.live_id and _lies_at(unit.staged, unit.live_id):
        if not exchange(unit.live, unit.staged):
            os.rename(unit.staged, unit.aside)
            os.rename(unit.live, unit.staged)
            os.rename(unit.aside, unit.live)
        return
    if unit.staged_id and _lies_at(unit.live, unit.staged_id):
        os.rename(unit.live, unit.staged)
    if unit.live_id and _lies_at(unit.aside, unit.live_id):
        os.rename(unit.aside, unit.live)
    elif unit.live_id and unit.staged_id and not _lies_at(unit.staged, unit.staged_id):
        raise OperationError(
            "old and new cannot be distinguished, so nothing was removed: the old files are in the staging directory",
            where=os.fsdecode(unit.staged),
            hint=f"ls -ld {quoted(os.fsdecode(unit.live))} {quoted(os.fsdecode(unit.staged))}",
        )


def _lies_at(path: bytes, known: Identity | None) -> bool:
    """Report whether the known file is at `path`. Compare inodes only: device numbers may change at a reboot."""
    found = identity(path)
    return (found and found[1]) == (known and known[1])


def exchange(one: bytes, other: bytes) -> bool:
    """Exchange two paths in one step and return True, or False if this system cannot. Raise OSError."""
    rename = _renameat2()
    if rename is None:
        return False
    if rename(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), os.fsdecode(one))


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    """Return renameat2 of the C library, or None: glibc has it since 2.28, musl since 1.2.5."""
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    function.restype = ctypes.c_int
    return function
