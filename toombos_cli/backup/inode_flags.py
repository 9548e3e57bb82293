"""The flags of an inode that forbid changes: immutable and append-only (chattr +i and +a; man 2 ioctl_iflags)."""

import array
import contextlib
import os
import stat
import struct
import sys
from collections.abc import Iterable, Iterator

_LONG = struct.calcsize("l")
_GET = 0x80006601 | _LONG << 16
_SET = 0x40006602 | _LONG << 16
_BITS = {"immutable": 0x10, "append-only": 0x20}
FLAG_NAMES = frozenset(_BITS)


def read_flags(fd: int) -> tuple[str, ...]:
    """Return the flags of an open file; () if it has none or the file system knows none."""
    bits = _read(fd)
    return tuple(name for name, bit in _BITS.items() if bits & bit)


def flags_of(path: bytes) -> tuple[str, ...]:
    """Return the flags of a file or directory; () if it cannot be opened."""
    try:
        with _opened(path) as fd:
            return read_flags(fd)
    except OSError:
        return ()


def set_flags(path: bytes, names: Iterable[str]) -> None:
    """Add flags to a file or directory. Raise OSError: only root may do it."""
    with _opened(path) as fd:
        _write(fd, _read(fd) | sum(_BITS[name] for name in set(names)))


def clear_flags(path: bytes, *, dir_fd: int | None = None) -> None:
    """Take both flags from a file or directory, so that it can be removed. Raise OSError."""
    with _opened(path, dir_fd) as fd:
        bits = _read(fd)
        if bits & sum(_BITS.values()):
            _write(fd, bits & ~sum(_BITS.values()))


@contextlib.contextmanager
def _opened(path: bytes, dir_fd: int | None = None) -> Iterator[int]:
    if stat.S_IFMT(os.stat(path, dir_fd=dir_fd, follow_symlinks=False).st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
        raise OSError("only files and directories have flags")
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def _read(fd: int) -> int:
    if sys.platform != "linux":
        return 0
    import fcntl

    bits = array.array("l", [0])
    try:
        fcntl.ioctl(fd, _GET, bits)
    except OSError:
        return 0
    return bits[0] & 0xFFFFFFFF


def _write(fd: int, flags: int) -> None:
    import fcntl

    fcntl.ioctl(fd, _SET, array.array("l", [flags]))
