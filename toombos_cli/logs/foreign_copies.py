"""Rotations by others that meet one of toombos: logrotate's `copytruncate` copies a log and then empties it.

A cut moves all bytes that follow it, so a copy that is made across it lacks lines or repeats those of the archive. A
cut waits while such a copy is made. If one was begun in the very moment of the cut, the archive is set right then.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from toombos_cli.base.files import replace_file
from toombos_cli.base.plain_files import open_plain_file, read_plain
from toombos_cli.logs.archives import LogPart, archive_content, foreign_archives
from toombos_cli.logs.cutting import filler

_BEING_MADE_S = 1.0
"""A copy that was written to this recently is probably followed by a truncation."""
_PATIENCE_S = 3.0
"""A copy is written to the disk before its log is truncated."""
_COMPARED_BYTES = 4096
_PAUSE_S = 0.005


def is_being_copied(log: Path, head: bytes, blank: int, now: float) -> bool:
    """Report whether others are copying a log with these first bytes after its filler, or have just copied it.

    A copy that has just been created may still be empty.
    """
    return any(
        head.startswith(_bytes_at(copy.path, blank, _COMPARED_BYTES))
        for copy in foreign_archives(log)
        if not copy.is_packed and copy.at >= now - _BEING_MADE_S
    )


def has_copy_of(log: Path, content: bytes, blank: int, *, newer_than: float) -> bool:
    """Report whether a copy that was made since then has the whole content after the filler."""
    return any(
        archive_content(copy.path)[blank:].startswith(content)  # it may be compressed by now
        for copy in foreign_archives(log)
        if copy.at >= newer_than
    )


def copies_now(log: Path) -> frozenset[tuple[int, int]]:
    """Return the inodes of the copies that exist."""
    return frozenset(copy.inode for copy in foreign_archives(log))


def set_right(
    fd: int, log: Path, archive: Path, first: int, blank: int, known: frozenset[tuple[int, int]], *, is_truncated: bool
) -> bool:
    """Leave in the archive what no copy has that was begun during the cut. Return False if nothing is left of it.

    `first` is the length of the filler that the log has now, `blank` that of the one before the cut. `is_truncated`
    means that the truncation that follows a copy has come already.
    """
    own = os.fstat(fd)
    known |= {(own.st_dev, own.st_ino)}  # the log itself may have been moved
    if not _begun(log, known):
        return True
    size = own.st_size
    rest = os.pread(fd, max(0, size - first), first)
    if not is_truncated and not _gets_truncated(fd, size):  # a mere copy
        return True
    ours = (read_plain(archive, None) + rest).splitlines(keepends=True)
    left = _not_in(ours, _lines_of(log, known, blank))
    if left:
        replace_file(archive, b"".join(left), durable=True)
    else:
        archive.unlink()
    return bool(left)


def _begun(log: Path, known: frozenset[tuple[int, int]]) -> Sequence[LogPart]:
    """Return the copies that are new and not older ones that were compressed, which keep their time."""
    newer_than = time.time() - _BEING_MADE_S - _PATIENCE_S
    return [copy for copy in foreign_archives(log) if copy.inode not in known and copy.at >= newer_than]


def _lines_of(log: Path, known: frozenset[tuple[int, int]], blank: int) -> list[bytes]:
    """Return the lines of the new copy, which may be compressed by now, or just be compressed to another file."""
    content = max((archive_content(copy.path) for copy in _begun(log, known)), key=len, default=b"")
    before_the_cut = content[:blank] == filler(blank)
    return content[blank if before_the_cut else 0 :].splitlines(keepends=True)


def _not_in(ours: list[bytes], theirs: list[bytes]) -> list[bytes]:
    """Return the lines that are missing in a copy, which has our first lines and may continue with later ones.

    Between the two it may have one torn line.
    """
    same = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    for begin in (same, same + 1):
        for later in range(same, len(ours)):
            if begin < len(theirs) and ours[later] == theirs[begin]:
                count = min(len(ours) - later, len(theirs) - begin)
                if ours[later : later + count] == theirs[begin : begin + count]:
                    return ours[same:later]
    return ours[same:]


def _gets_truncated(fd: int, size: int) -> bool:
    """Wait for the truncation that follows a copy; report whether it came."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        if os.fstat(fd).st_size < size:
            return True
        time.sleep(_PAUSE_S)
    return False


def _bytes_at(path: Path, offset: int, count: int) -> bytes:
    try:
        with open_plain_file(path) as file:
            return os.pread(file.fileno(), count, offset)
    except OSError:
        return b"\0"
