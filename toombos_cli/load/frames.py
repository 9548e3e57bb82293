"""Frames: what toombos, a Locust master, its workers and their shares of a load test send each other.

A frame is its length and a MessagePack array of (worker, kind, data). The Locust file, which has to run without
toombos, reads and writes the same.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import msgspec

from toombos_cli.base.untrusted import decode_packed

_LENGTH = struct.Struct("!Q")


class Frame(NamedTuple):
    """A message. `worker` is Locust's name of the worker that sent it or gets it, or ""."""

    worker: str
    kind: str
    data: bytes


def packed(kind: str, data: bytes = b"", worker: str = "") -> bytes:
    """Return the bytes of a frame."""
    content = msgspec.msgpack.encode((worker, kind, data))
    return _LENGTH.pack(len(content)) + content


def write_frame(output: BinaryIO, kind: str, data: bytes = b"") -> None:
    """Write a frame. Raise OSError if nobody reads it."""
    output.write(packed(kind, data))
    output.flush()


def read_frame(source: BinaryIO) -> Frame | None:
    """Return the next frame, or None at the end."""
    head = source.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    content = source.read(length)
    return decode_packed(content, Frame) if len(content) == length else None


class FrameBuffer:
    """Puts frames together from the pieces in which they arrive."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are complete with these bytes. Raise UntrustedError."""
        self._data += data
        while len(self._data) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._data)[0]
            if len(self._data) < end:
                return
            content = bytes(self._data[_LENGTH.size : end])
            del self._data[:end]
            yield decode_packed(content, Frame)
