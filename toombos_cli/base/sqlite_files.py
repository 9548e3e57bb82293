"""Recognises SQLite databases by their files, without opening them."""

import os

COMPANIONS = (b"-wal", b"-shm", b"-journal")
_MAGIC = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html, 1.3.1
_WAL_VERSION = 2  # of bytes 18 and 19, the file format's versions for writing and reading


def is_sqlite(path: bytes) -> bool:
    """Report whether the file is a SQLite database. An empty file is one if it has a -wal."""
    start = _head(path)
    if not start:
        return start is not None and os.path.exists(path + b"-wal")  # noqa: PTH110  (a path of raw bytes)
    return start.startswith(_MAGIC)


def rests_in_wal_mode(path: bytes) -> bool:
    """Report whether a database in WAL mode has neither a -wal nor a -journal: nobody has it open, and none is hot."""
    if any(os.path.lexists(path + suffix) for suffix in COMPANIONS):
        return False
    start = _head(path)
    return start is not None and start[18:20] == bytes([_WAL_VERSION] * 2)


def _head(path: bytes) -> bytes | None:
    """Return the first bytes of a regular file, or None if it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return os.read(fd, 20)
    except OSError:
        return None
    finally:
        os.close(fd)
