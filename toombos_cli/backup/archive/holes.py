"""Files with holes: where their data is, and whether a file on disk has the content of an archive's entry."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from itertools import pairwise

from toombos_cli.backup.archive.format import Entry, Extents

MOST_EXTENTS = 4096
"""The smallest holes of a file with more pieces of data are stored as zeros: each piece takes space in the header."""
_ALIGNMENT = 512  # tar stores each piece in whole blocks; file systems keep holes in larger ones
_CHUNK_BYTES = 1 << 20
_NO_DATA = bytes(_CHUNK_BYTES)


def may_have_holes(status: os.stat_result) -> bool:
    """Report whether a regular file occupies less than its size; a file system that compresses does that too."""
    return stat.S_ISREG(status.st_mode) and status.st_blocks * 512 < status.st_size


def find_extents(fd: int, size: int) -> Extents | None:
    """Return the offset and length of each piece of data in the first `size` bytes, or None if there is no hole."""
    extents: list[tuple[int, int]] = []
    for start, end in _data(fd, 0, size):
        start -= start % _ALIGNMENT
        end = min(size, end + -end % _ALIGNMENT)
        if extents and start <= sum(extents[-1]):
            start = extents.pop()[0]
        extents.append((start, end - start))
    found = _with_fewer_holes(extents)
    return None if found == ((0, size),) else found


def read_extents(fd: int, extents: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """Yield the content of these pieces of a file; it ends early if the file does."""
    for start, length in extents:
        at, end = start, start + length
        while at < end:
            chunk = os.pread(fd, min(_CHUNK_BYTES, end - at), at)
            if not chunk:
                return
            at += len(chunk)
            yield chunk


def has_content(fd: int, entry: Entry) -> bool:
    """Report whether an open file has the content of an archive's entry; it may have other holes."""
    if os.fstat(fd).st_size != entry.size:
        return False
    digest = hashlib.sha256()
    for chunk in read_extents(fd, entry.stored):
        digest.update(chunk)
    return digest.hexdigest() == entry.sha256 and (entry.data is None or _is_zero(fd, _gaps(entry.data, entry.size)))


def _data(fd: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where each piece of data starts and ends; all of it is one if the system does not know about holes."""
    at = start
    while at < end:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
            stop = os.lseek(fd, at, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:  # which means that the rest is a hole
                yield at, end
            return
        if at < end:
            yield at, min(stop, end)
        at = stop


def _with_fewer_holes(extents: list[tuple[int, int]]) -> Extents:
    if len(extents) <= MOST_EXTENTS:
        return tuple(extents)
    holes = ((later[0] - sum(earlier), number) for number, (earlier, later) in enumerate(pairwise(extents), 1))
    first = [0, *sorted(number for _, number in sorted(holes, reverse=True)[: MOST_EXTENTS - 1])]
    ends = [sum(extents[number - 1]) for number in [*first[1:], len(extents)]]
    return tuple((extents[number][0], end - extents[number][0]) for number, end in zip(first, ends, strict=True))


def _gaps(extents: Extents, size: int) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each hole between the pieces of data."""
    at = 0
    for start, length in (*extents, (size, 0)):
        if at < start:
            yield at, start
        at = start + length


def _is_zero(fd: int, gaps: Iterable[tuple[int, int]]) -> bool:
    """Report whether an open file has only holes and zeros there."""
    for start, end in gaps:
        for at, stop in _data(fd, start, end):
            if any(chunk != _NO_DATA[: len(chunk)] for chunk in read_extents(fd, [(at, stop - at)])):
                return False
    return True
