"""The last stretch of a log file in lines, read in bounded time and memory whatever the file holds.

A log of 5 GB costs what one of 5 MB costs.
"""

import gzip
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

TAIL_BYTES = 1024 * 1024
_COUNTED_BYTES = 16 * 1024 * 1024
"""In a file of at most this size lines are numbered; in a larger one the byte offset is told."""
_LONGEST_LINE = 16 * 1024
_UNPACKED_BYTES = 8 * 1024 * 1024


class RawLine(msgspec.Struct):
    """One line as it is; `raw` is b"" where it is too long to be kept, or began before what was read."""

    path: str
    line: int | None
    offset: int
    raw: bytes
    length: int


def tail(path: Path) -> Iterator[RawLine]:
    """The whole lines in the last stretch of a plain file."""
    # Not blocking: a FIFO that has the log's name must not hold up the reader.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        size = os.fstat(fd).st_size
        begin = max(0, size - TAIL_BYTES)
        number = _newlines_before(file, begin) + 1 if size <= _COUNTED_BYTES else None
        file.seek(begin)
        block = file.read(TAIL_BYTES)
    yield from _split(str(path), block, begin, number)


def _split(path: str, block: bytes, begin: int, number: int | None) -> Iterator[RawLine]:
    """The lines of a block; the first is left out, or told by its length, where it began before the block."""
    lines = block.split(b"\n")
    offset = begin
    for index, raw in enumerate(lines):
        whole = index > 0 or begin == 0
        last_is_empty = index == len(lines) - 1 and not raw
        if (whole or len(lines) == 1) and raw.strip() and not last_is_empty:
            length = len(raw) if whole else begin + len(raw)
            line = number + index if number is not None else None
            yield RawLine(path, line, offset, raw if whole and length <= _LONGEST_LINE else b"", length)
        offset += len(raw) + 1


def _newlines_before(file: BinaryIO, end: int) -> int:
    count, position = 0, 0
    while position < end:
        chunk = file.read(min(1024 * 1024, end - position))
        if not chunk:
            break
        count += chunk.count(b"\n")
        position += len(chunk)
    return count


def archived(path: Path) -> Iterator[RawLine]:
    """The last lines of the newest archive beside the log, compressed or not, as far as that is cheap."""
    found = (p for p in path.parent.glob(f"{path.name}.*") if re.search(r"\.(\d+|\d{8}T\d{6}\.\d+)(\.gz)?$", p.name))
    try:
        newest = max(found, key=lambda p: p.stat().st_mtime, default=None)
        if newest is None:
            return
        if newest.suffix != ".gz":
            yield from tail(newest)
            return
        with gzip.open(newest) as file:
            content = file.read(_UNPACKED_BYTES)
            if file.read(1):  # longer than is worth unpacking: its end is not reached
                return
    except (OSError, EOFError, ValueError):
        return
    begin = max(0, len(content) - TAIL_BYTES)
    yield from _split(str(newest), content[begin:], begin, content.count(b"\n", 0, begin) + 1)
