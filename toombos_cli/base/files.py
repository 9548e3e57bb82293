"""Files that only their owner may read: replaced as a whole, or grown by whole lines."""

import errno
import fcntl
import os
from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Replaces the file in one step, mode 0600, below directories of mode 0700. Raises OSError."""
    make_private_directory(path.parent)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def replace_private(path: Path, content: bytes, *, durable: bool) -> None:
    """Replaces the file at once, readable by its owner alone; `durable`: on disk when this returns. Raises OSError.

    On any error the file is as it was before.
    """
    temporary = path.with_name(f"{path.name}.new")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            written = 0
            while written < len(content):
                written += os.write(fd, content[written:])
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def append_line(path: Path, line: bytes) -> None:
    """Adds one line in one write, so that lines of several writers never mix. Raises OSError.

    The shared lock lets `take_lines` wait until no line is half way between opening and writing.
    """
    while True:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            make_private_directory(path.parent)
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)
            if _is_still(path, fd):
                if os.write(fd, line + b"\n") <= len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
                return
        finally:
            os.close(fd)


def take_lines(path: Path, aside: Path) -> tuple[bytes, ...]:
    """The lines that were appended so far, moved to `aside`, which the caller removes when they are dealt with.

    What an earlier caller left in `aside` comes first, by itself. Raises OSError.
    """
    if not aside.exists():
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return ()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            path.replace(aside)
        finally:
            os.close(fd)
    return tuple(aside.read_bytes().splitlines())


def make_private_directory(path: Path) -> None:
    """Makes the directory and those above it that are missing, mode 0700. Raises OSError."""
    if not path.is_dir():
        make_private_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def _is_still(path: Path, fd: int) -> bool:
    """Whether the open file is the one that has this name now, not one that was moved aside meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
