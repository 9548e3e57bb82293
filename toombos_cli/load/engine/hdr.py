"""Encode a distribution as an HdrHistogram V2 blob, which HdrHistogram's tools and libraries in any language can read.

Format: a zlib stream of a header and the counts as ZigZag LEB128 numbers, where a negative number stands for a run of
zeros (HdrHistogram, "V2 compressed" encoding), in base64. Values are microseconds up to an hour.
"""

import base64
import struct
import zlib
from collections.abc import Iterator, Mapping

from toombos_cli.load.engine.histogram import DIGITS, SUB_BUCKET_BITS

_COOKIE = 0x1C849313
_COMPRESSED_COOKIE = 0x1C849314
_HIGHEST_US = 3_600_000_000
_HALF = 1 << (SUB_BUCKET_BITS - 1)


def encode_v2(buckets: Mapping[int, int]) -> str:
    """Return the blob as base64 text. Values above an hour count as an hour."""
    slots: dict[int, int] = {}
    for lowest, count in buckets.items():
        index = _index(min(lowest, _HIGHEST_US))
        slots[index] = slots.get(index, 0) + count
    counts = b"".join(_leb128(number) for number in _runs(slots))
    header = struct.pack(">iiiiqqd", _COOKIE, len(counts), 0, DIGITS, 1, _HIGHEST_US, 1.0)
    body = zlib.compress(header + counts)
    return base64.b64encode(struct.pack(">ii", _COMPRESSED_COOKIE, len(body)) + body).decode("ascii")


def _index(lowest: int) -> int:
    """Return the index of a bucket in HdrHistogram's array of counts."""
    shift = max(0, lowest.bit_length() - SUB_BUCKET_BITS)
    return shift * _HALF + (lowest >> shift)


def _runs(slots: Mapping[int, int]) -> Iterator[int]:
    position = 0
    for index in sorted(slots):
        if index > position:
            yield position - index
        yield slots[index]
        position = index + 1


def _leb128(number: int) -> bytes:
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)
