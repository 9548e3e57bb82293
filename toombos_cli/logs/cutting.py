"""The steps of a rotation on open files: copy a range, cut it out of the file, and blank what remains of it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from toombos_cli.base.plain_files import APPEND, open_plain, open_plain_file

_FALLOC_FL_COLLAPSE_RANGE = 0x08
_CHUNK_BYTES = 1024 * 1024
_GZIP_LEVEL = 4  # text shrinks by nine tenths at any level; this takes a third of the time of level 9


class InterruptedCompressionError(Exception):
    """The supervisor ends; the archive stays as it is."""


def filler(size: int) -> bytes:
    """Return so many bytes that show as one blank line."""
    return b" " * (size - 1) + b"\n" if size else b""


def collapse(fd: int, size: int) -> bool:
    """Cut the first `size` bytes, whole blocks, out of the file. Return False if that is not possible.

    It is not if the file system cannot, or if the file has become shorter than that. Raise OSError.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "fallocate"):
        return False
    arguments = (ctypes.c_int(_FALLOC_FL_COLLAPSE_RANGE), ctypes.c_int64(0), ctypes.c_int64(size))
    if libc.fallocate(fd, *arguments) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(number, os.strerror(number))


def copy_range(fd: int, target: Path, start: int, end: int) -> None:
    """Append bytes [start, end) to the private file `target` and flush them to disk; fewer if the file has shrunk."""
    out = open_plain(target, APPEND)
    try:
        while start < end and (chunk := os.pread(fd, min(_CHUNK_BYTES, end - start), start)):
            start += os.write(out, chunk)
        os.fsync(out)
    finally:
        os.close(out)


def end_of_lines(fd: int, start: int) -> int:
    """Return the offset after the file's last newline at or after `start`, or `start` if there is none."""
    position = os.fstat(fd).st_size
    while position > start:
        begin = max(start, position - _CHUNK_BYTES)
        found = os.pread(fd, position - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        position = begin
    return start


def compress(archive: Path, is_cancelled: Callable[[], bool]) -> None:
    """Replace the archive by its .gz; a crash leaves the one or the other whole. Raise InterruptedCompressionError."""
    import gzip

    from toombos_cli.base.files import replacing

    with (
        open_plain_file(archive) as source,
        replacing(archive.with_name(f"{archive.name}.gz"), durable=True) as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=_GZIP_LEVEL) as target,
    ):
        while chunk := source.read(_CHUNK_BYTES):
            if is_cancelled():
                raise InterruptedCompressionError
            target.write(chunk)
    archive.unlink(missing_ok=True)
