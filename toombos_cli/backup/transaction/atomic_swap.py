"""Swaps a live path with a staged one in one step of the kernel, and takes the step back.

Linux renames two paths against each other (renameat2 with RENAME_EXCHANGE, man 2 renameat2). Where the system or
the file system cannot, two renames do it, with the live path missing for a moment between them; a kill there is
repaired from the journal, which knows every path by its inode.
"""

import ctypes
import errno
import functools
import os
import shlex
from collections.abc import Callable

import msgspec

from toombos_cli.base.errors import OperationError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})

Identity = tuple[int, int]


class SwapUnit(msgspec.Struct, frozen=True, kw_only=True):
    """One path that changes as a whole.

    `staged` holds the new content and, once exchanged, the old. `aside` is where the old content goes when it is
    not exchanged but moved. The identities (device, inode) tell which is which after a kill; None: there is none.
    """

    live: bytes
    staged: bytes
    aside: bytes
    live_id: Identity | None
    staged_id: Identity | None


def identity(path: bytes) -> Identity | None:
    """Device and inode of what lies at a path, links not followed; None when nothing does."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def swap(unit: SwapUnit, *, atomic: bool = True) -> None:
    """Puts the staged content in the live place. `atomic=False` takes the way of systems without the exchange."""
    if unit.live_id and unit.staged_id:
        if not (atomic and exchange(unit.live, unit.staged)):
            os.rename(unit.live, unit.aside)
            os.rename(unit.staged, unit.live)
    elif unit.staged_id:
        os.rename(unit.staged, unit.live)
    elif unit.live_id:
        os.rename(unit.live, unit.aside)


def swap_back(unit: SwapUnit) -> None:
    """Puts the old content back, from wherever a swap was broken off; does nothing when it is in its place.

    What somebody put into the live place meanwhile stays when the swap never came to it. Raises OperationError when
    old and new cannot be told apart: nothing may then be removed.
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
            "old and new cannot be told apart, so nothing was removed: the old files lie in the staging directory",
            where=os.fsdecode(unit.staged),
            hint=f"ls -ld {shlex.quote(os.fsdecode(unit.live))} {shlex.quote(os.fsdecode(unit.staged))}",
        )


def _lies_at(path: bytes, known: Identity | None) -> bool:
    """Whether what is known lies there. By its inode alone: a device may have another number after a reboot."""
    found = identity(path)
    return (found and found[1]) == (known and known[1])


def exchange(one: bytes, other: bytes) -> bool:
    """Exchanges two paths in one step; False when this system cannot. Raises OSError."""
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
    """glibc 2.28 and musl 1.2.5 have it; other systems do not."""
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    function.restype = ctypes.c_int
    return function
