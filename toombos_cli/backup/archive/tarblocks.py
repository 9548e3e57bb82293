"""Tar headers, byte for byte. The reader recomputes them from the manifest and compares, so it never parses tar.

GNU format (raw names of any bytes, sizes over 8 GiB), with pax records for sub-second times and extended attributes:
GNU tar, bsdtar and Python's tarfile read both. Fields: https://www.gnu.org/software/tar/manual/html_node/Standard.html
"""

import functools
import struct
import zlib

from toombos_cli.backup.archive.format import Entry, Extents

BLOCK = 512
END = bytes(2 * BLOCK)
_NAME_BYTES = 100
_LONG = b"././@LongLink"
_TYPES = {"file": b"0", "dir": b"5", "symlink": b"2", "fifo": b"6"}
_HARD_LINK, _SPARSE = b"1", b"S"
_PIECES_IN_HEADER, _PIECES_IN_BLOCK = 4, 21
_LAYOUT = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s167s")
_SPARSE_LAYOUT = struct.Struct("41x96s?12s17x")
_MORE_PIECES = struct.Struct("504s?7x")


def member_header(entry: Entry) -> bytes:
    """Return all blocks that precede the entry's content."""
    name = entry.name + (b"/" if entry.type == "dir" else b"")
    link = entry.target
    pieces = None if link or entry.data is None else _pieces(entry.data, entry.size)
    blocks = []
    seconds, nanoseconds = divmod(entry.time_ns, 1_000_000_000)
    records = _pax_record(b"mtime", _decimal_seconds(entry.time_ns)) if nanoseconds else b""
    for key, value in entry.xattrs.items():
        records += _pax_record(b"SCHILY.xattr." + key.encode(), value)
    if records:
        blocks.append(_extra(b"@mtime", b"x", records))
    if len(link) > _NAME_BYTES:
        blocks.append(_extra(_LONG, b"K", link + b"\0"))
    if len(name) > _NAME_BYTES:
        blocks.append(_extra(_LONG, b"L", name + b"\0"))
    blocks.append(
        _block(
            name=name[:_NAME_BYTES],
            mode=entry.mode,
            owner=(entry.uid, entry.gid),
            size=entry.content_bytes,
            mtime=seconds,
            typeflag=_typeflag(entry),
            link=link[:_NAME_BYTES],
            sparse=b"" if pieces is None else _sparse_fields(pieces, entry.size),
        )
    )
    if pieces:
        blocks.append(_further_pieces(pieces[_PIECES_IN_HEADER:]))
    return b"".join(blocks)


def _typeflag(entry: Entry) -> bytes:
    if entry.type != "file":
        return _TYPES[entry.type]
    if entry.target:
        return _HARD_LINK
    return _TYPES["file"] if entry.data is None else _SPARSE


def _pieces(data: Extents, size: int) -> Extents:
    """Return the map of a sparse file as GNU tar writes it: an empty piece ends a file that ends in a hole."""
    ends_in_hole = not data or sum(data[-1]) < size
    return (*data, (size, 0)) if ends_in_hole else data


def _sparse_fields(pieces: Extents, size: int) -> bytes:
    """Return what follows the prefix in a header of type S; the times in the first 41 bytes are not used."""
    more = len(pieces) > _PIECES_IN_HEADER
    return _SPARSE_LAYOUT.pack(_map(pieces[:_PIECES_IN_HEADER]), more, _number(size, 12))


def _further_pieces(pieces: Extents) -> bytes:
    """Return the blocks that hold the rest of the map of a sparse file."""
    blocks = [
        _MORE_PIECES.pack(_map(pieces[at : at + _PIECES_IN_BLOCK]), at + _PIECES_IN_BLOCK < len(pieces))
        for at in range(0, len(pieces), _PIECES_IN_BLOCK)
    ]
    return b"".join(blocks)


def _map(pieces: Extents) -> bytes:
    return b"".join(_number(offset, 12) + _number(length, 12) for offset, length in pieces)


def padding(size: int) -> bytes:
    """Return the zeros that fill the last block of a content of `size` bytes."""
    return bytes(-size % BLOCK)


def _extra(name: bytes, typeflag: bytes, content: bytes) -> bytes:
    size = len(content)
    return b"%b%b%b" % (_extra_head(name, typeflag, size), content, bytes(-size % BLOCK))


@functools.cache  # there are few different ones, and nearly every member has one
def _extra_head(name: bytes, typeflag: bytes, size: int) -> bytes:
    return _block(name=name, mode=0o644, owner=(0, 0), size=size, mtime=0, typeflag=typeflag, link=b"")


def _block(
    *,
    name: bytes,
    mode: int,
    owner: tuple[int, int],
    size: int,
    mtime: int,
    typeflag: bytes,
    link: bytes,
    sparse: bytes = b"",
) -> bytes:
    fields = [
        name,
        _number(mode, 8),
        _number(owner[0], 8),
        _number(owner[1], 8),
        _number(size, 12),
        _number(mtime, 12),
        b" " * 8,
        typeflag,
        link,
        b"ustar  \0",
        *[b""] * 4,
        sparse,
    ]
    # The low half of Adler-32 is 1 + the sum of the bytes, modulo 65521. The sum of a header with a name and a link
    # of 100 bytes each stays below that. This takes a tenth of the time of sum().
    checksum = (zlib.adler32(_LAYOUT.pack(*fields)) & 0xFFFF) - 1
    fields[6] = b"%06o\0 " % checksum
    return _LAYOUT.pack(*fields)


@functools.lru_cache(1024)  # modes, owners and sizes recur
def _number(value: int, width: int) -> bytes:
    """Return octal digits and a NUL if they fit, else GNU base-256, its top bit set (negative: two's complement)."""
    if 0 <= value < 8 ** (width - 1):
        return f"{value:0{width - 1}o}\0".encode()
    if value >= 0:
        return b"\x80" + value.to_bytes(width - 1, "big")
    return b"\xff" + int(value + 256 ** (width - 1)).to_bytes(width - 1, "big")


def _decimal_seconds(nanoseconds: int) -> bytes:
    if nanoseconds < 0:
        return b"-" + _decimal_seconds(-nanoseconds)
    return b"%d.%09d" % divmod(nanoseconds, 1_000_000_000)


def _pax_record(key: bytes, value: bytes) -> bytes:
    """Return `<length> key=value\\n`, where the length includes itself (POSIX pax, extended header)."""
    body = b" %s=%s\n" % (key, value)
    length = len(body)
    while length != len(record := b"%d%b" % (length, body)):
        length = len(record)
    return record
