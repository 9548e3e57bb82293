"""The lines at the end of a log file, read in bounded time and memory whatever the file contains.

A log of 5 GB costs as much as one of 5 MB.
"""

import gzip
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from toombos_cli.base.plain_files import open_plain_file

TAIL_BYTES = 1024 * 1024
_COUNTED_BYTES = 16 * 1024 * 1024
"""Lines are numbered in a file of at most this size; in a larger one, only the byte offset is known."""
_LONGEST_LINE = 16 * 1024
_UNPACKED_BYTES = 8 * 1024 * 1024


class RawLine(msgspec.Struct):
    """One unchanged line; `raw` is b"" if the line is too long to keep, or starts before the part that was read."""

    path: str
    line: int | None
    offset: int
    raw: bytes
    length: int


def tail(path: Path) -> Iterator[RawLine]:
    """Yield the complete lines at the end of an uncompressed file."""
    with open_plain_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        begin = max(0, size - TAIL_BYTES)
        number = _newlines_before(file, begin) + 1 if size <= _COUNTED_BYTES else None
        file.seek(begin)
        block = file.read(TAIL_BYTES)
    yield from _split(str(path), block, begin, number)


def _split(path: str, block: bytes, begin: int, number: int | None) -> Iterator[RawLine]:
    """Yield the lines of a block. A line that starts before it is dropped, or reduced to its length if it is alone."""
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
    """Yield the last lines of the newest archive beside the log; none if unpacking it would take too long."""
    found = (p for p in path.parent.glob(f"{path.name}.*") if re.search(r"\.(\d+|\d{8}T\d{6}\.\d+)(\.gz)?$", p.name))
    try:
        newest = max(found, key=lambda p: p.stat().st_mtime, default=None)
        if newest is None:
            return
        if newest.suffix != ".gz":
            yield from tail(newest)
            return
        with open_plain_file(newest) as packed, gzip.open(packed) as file:
            content = file.read(_UNPACKED_BYTES)
            if file.read(1):  # too large to unpack: its end was not reached
                return
    except (OSError, EOFError, ValueError):
        return
    begin = max(0, len(content) - TAIL_BYTES)
    yield from _split(str(newest), content[begin:], begin, content.count(b"\n", 0, begin) + 1)
