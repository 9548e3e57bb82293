"""Takes over the compressed frames of an earlier archive whose content has not changed since."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toombos_cli.backup.archive.encryption import is_encrypted
from toombos_cli.backup.archive.format import Tail
from toombos_cli.backup.archive.frames import opens_to
from toombos_cli.backup.archive.reader import open_tail
from toombos_cli.backup.errors import BadArchiveError
from toombos_cli.base.errors import ToombosError


class EarlierFrames:
    """The frames of one archive, found by the size and CRC-32 of their content.

    The checksum only finds a candidate. A frame is taken over if it decompresses to exactly the content that was just
    read; a damaged one is never taken over. `damage` says which frame was found damaged, "" if none was.
    """

    def __init__(self, fd: int, tail: Tail) -> None:
        self._fd = fd
        self._places: dict[tuple[int, int], tuple[int, int, int]] = {}
        self.damage = ""
        offset = 0
        for number, ((compressed_size, size), crc32) in enumerate(zip(tail.frames, tail.crc32s, strict=False)):
            self._places[size, crc32] = number, offset, compressed_size
            offset += compressed_size

    def take(self, content: bytes | bytearray, crc32: int) -> bytes | None:
        """Return the frame that decompresses to `content`, or None. Called by several threads at once."""
        place = self._places.get((len(content), crc32))
        if place is None:
            return None
        number, offset, compressed_size = place
        try:
            compressed = os.pread(self._fd, compressed_size, offset)
            return compressed if opens_to(compressed, content, number) else None
        except OSError as error:
            self.damage = f"frame {number} cannot be read: {error.strerror or error}"
        except BadArchiveError as error:
            self.damage = str(error)
        return None


@contextmanager
def frames_of(archive: Path | None) -> Iterator[EarlierFrames | None]:
    """Yield the frames of an archive, or None if there are none to take: no archive, an encrypted or unreadable one."""
    if archive is None or is_encrypted(archive):
        yield None
        return
    try:
        fd, tail = open_tail(archive)
    except ToombosError:
        yield None
        return
    try:
        yield EarlierFrames(fd, tail)
    finally:
        os.close(fd)
