"""Opens an archive that may be damaged or hostile: only what can be recomputed from the manifest is accepted.

The tar stream is not parsed. Every header is recomputed from the manifest and compared, so an archive with an
unlisted member, a hard link, a device or a wrong size is refused.
"""

import hashlib
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from toombos_cli.backup.archive import tarblocks
from toombos_cli.backup.archive.format import FORMAT, ArchiveManifest, Entry, Tail
from toombos_cli.backup.archive.frames import FRAME_BYTES, open_frame, read_frames
from toombos_cli.backup.archive.restore_txt import UNPACK
from toombos_cli.backup.archive.safety import check_entries, check_roots
from toombos_cli.backup.archive.writer import (
    SKIPPABLE_MAGIC,
    TAIL_FOOTER,
    TAIL_MAGIC,
    is_complete,
    manifest_member,
)
from toombos_cli.backup.errors import BadArchiveError, NewerArchiveError
from toombos_cli.backup.observer import BackupObserver
from toombos_cli.base.errors import OperationError
from toombos_cli.base.fixes import here
from toombos_cli.base.text import printable
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted

_MAX_TAIL_BYTES = 64 << 20
_MAX_MANIFEST_BYTES = 512 << 20
_UNSUSPICIOUS_BYTES = 16 << 20
_MOST_PACKED = 200
"""A larger manifest is at most so many times as large as it is compressed: a checksum cannot be compressed at all."""
_HEAD = struct.Struct("<II")


class Archive:
    """An open archive. Its tail, manifest and names are checked when it is opened, its content while it is read.

    Raises BadArchiveError if anything is wrong, NewerArchiveError for a newer format, OperationError if the file
    cannot be opened.
    """

    def __init__(self, path: Path, *, known_as: Path | None = None) -> None:
        self.path = known_as or path
        self._fd = _open_regular(path)
        try:
            self.tail = _read_tail(self._fd)
            self._encoded_manifest = self._read_manifest()
            self.manifest = self._decode_manifest()
            self.roots = check_roots(self.manifest.header.roots)
            check_entries(self.manifest.entries, self.roots)
            self._check_agreement()
        except (BadArchiveError, OSError) as error:
            self.close()
            raise _named(error, self.path) from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def members(self) -> Iterator[tuple[Entry, Iterator[memoryview]]]:
        """Yield each member with its content in pieces, which must be consumed before the next member.

        Checks the frames' checksums and the headers on the way; the caller compares the sha256 of the contents.
        After the last member, every byte of the file has been accounted for.
        """
        try:
            yield from self._members()
        except (BadArchiveError, OSError) as error:
            raise _named(error, self.path) from None

    def _members(self) -> Iterator[tuple[Entry, Iterator[memoryview]]]:
        digest = hashlib.sha256()
        stream = _Stream(self._contents(digest))
        front = b"".join(stream.pieces(self.tail.frames[0][1]))
        if hashlib.sha256(front).hexdigest() != self.manifest.front_sha256:
            raise BadArchiveError("the header members are not what the manifest says")
        for entry in self.manifest.entries:
            stream.expect(tarblocks.member_header(entry), "the header of", entry)
            pieces = stream.pieces(entry.content_bytes)
            yield entry, pieces
            if next(pieces, None) is not None:
                raise RuntimeError("a member's content was not taken before the next member")
            stream.expect(tarblocks.padding(entry.content_bytes), "the padding of", entry)
        for block in manifest_member(self._encoded_manifest):
            stream.expect(block, "the manifest member")
        stream.expect_end()
        if digest.hexdigest() != self.tail.body_sha256:
            raise BadArchiveError("the file's checksum differs from the one in its index")

    def _contents(self, digest: "hashlib._Hash") -> Iterator[bytes]:
        for compressed, pieces in read_frames(self._fd, 0, self.tail.frames):
            digest.update(compressed)
            yield from pieces

    def _read_manifest(self) -> bytes:
        offset = sum(compressed for compressed, _ in self.tail.frames[: self.tail.manifest_frame])
        frames = self.tail.frames[self.tail.manifest_frame :]
        if not 0 < self.tail.manifest_bytes <= min(_MAX_MANIFEST_BYTES, sum(size for _, size in frames)):
            raise BadArchiveError("the index places the manifest where it cannot be")
        packed = sum(compressed for compressed, _ in frames)
        if self.tail.manifest_bytes > max(_UNSUSPICIOUS_BYTES, _MOST_PACKED * packed):
            raise BadArchiveError("the manifest is compressed more than a list of files can be")
        content = bytearray()
        for number, (compressed_size, size) in enumerate(frames, self.tail.manifest_frame):
            compressed = os.pread(self._fd, compressed_size, offset)
            offset += compressed_size
            content += b"".join(open_frame(compressed, compressed_size, size, number))
        start = tarblocks.BLOCK
        with memoryview(content) as whole:
            encoded = bytes(whole[start : start + self.tail.manifest_bytes])
            at = 0
            for block in manifest_member(encoded):
                if bytes(whole[at : at + len(block)]) != block:
                    raise BadArchiveError("the manifest member is not where the index says")
                at += len(block)
            if at != len(whole):
                raise BadArchiveError("the manifest member is not where the index says")
        return encoded

    def _decode_manifest(self) -> ArchiveManifest:
        try:
            return decode_untrusted(self._encoded_manifest, ArchiveManifest, most_bytes=_MAX_MANIFEST_BYTES)
        except UntrustedError as error:
            raise BadArchiveError(f"the manifest cannot be read: {error}") from None

    def _check_agreement(self) -> None:
        """Raise BadArchiveError unless header, manifest and tail agree; `list` shows only the tail."""
        header, tail = self.manifest.header, self.tail
        files = [entry for entry in self.manifest.entries if entry.type == "file"]
        said = (tail.format, tail.min_reader, tail.created_at, tail.kind, tail.files, tail.data_bytes, tail.complete)
        found = (
            header.format,
            header.min_reader,
            header.created_at,
            header.kind,
            len(files),
            sum(entry.content_bytes for entry in files),
            is_complete(self.manifest),
        )
        if said != found:
            raise BadArchiveError("the index and the manifest contradict each other")


class _Stream:
    """The decompressed stream: expected blocks are compared, contents are yielded in pieces."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def pieces(self, size: int) -> Iterator[memoryview]:
        """Yield the next `size` bytes."""
        while size:
            if not self._rest:
                chunk = next(self._chunks, b"")
                self._rest = memoryview(chunk)
                if not chunk:
                    raise BadArchiveError("the content ends before the last member")
            piece = self._rest[:size]
            self._rest = self._rest[len(piece) :]
            size -= len(piece)
            yield piece

    def expect(self, block: bytes, what: str, entry: Entry | None = None) -> None:
        """Consume `block`; raise BadArchiveError if the stream contains something else."""
        size = len(block)
        if bytes(self._rest[:size]) == block:  # the usual case; memoryviews are compared byte by byte, which is slow
            self._rest = self._rest[size:]
            return
        at = 0
        for piece in self.pieces(len(block)):
            if piece != block[at : at + len(piece)]:
                named = f" {printable(entry.name)!r}" if entry else ""
                raise BadArchiveError(f"{what}{named} is not what the manifest says")
            at += len(piece)

    def expect_end(self) -> None:
        """Raise BadArchiveError unless the stream ends here."""
        if len(self._rest) or any(self._chunks):
            raise BadArchiveError("there is content after the last member")


def read_tail(path: Path) -> Tail:
    """Return the tail index, which is all that `list` needs. Raises the same errors as Archive."""
    fd, tail = open_tail(path)
    os.close(fd)
    return tail


def open_tail(path: Path) -> tuple[int, Tail]:
    """Return the open file and its tail index. Raises the same errors as Archive."""
    fd = _open_regular(path)
    try:
        return fd, _read_tail(fd)
    except (BadArchiveError, OSError) as error:
        os.close(fd)
        raise _named(error, path) from None


def _read_tail(fd: int) -> Tail:
    file_bytes = os.fstat(fd).st_size
    if file_bytes < _HEAD.size + TAIL_FOOTER.size:
        raise BadArchiveError(f"the file is cut off: {file_bytes} bytes")
    checksum, length, magic = TAIL_FOOTER.unpack(os.pread(fd, TAIL_FOOTER.size, file_bytes - TAIL_FOOTER.size))
    frame_bytes = length + TAIL_FOOTER.size
    body_bytes = file_bytes - _HEAD.size - frame_bytes
    if magic != TAIL_MAGIC or length > _MAX_TAIL_BYTES or body_bytes < 0:
        raise BadArchiveError("no index at the end: the file is cut off, or is not a toombos archive")
    head = os.pread(fd, _HEAD.size + length, body_bytes)
    encoded = head[_HEAD.size :]
    if _HEAD.unpack_from(head) != (SKIPPABLE_MAGIC, frame_bytes) or zlib.crc32(encoded) != checksum:
        raise BadArchiveError("the index at the end is damaged")
    try:
        demand = decode_untrusted(encoded, _Demand, most_bytes=_MAX_TAIL_BYTES)
        if demand.min_reader > FORMAT:
            raise NewerArchiveError(
                f"needs a toombos that reads format {demand.min_reader}; this one reads up to {FORMAT}",
                hint=f"mkdir restored && {UNPACK} ARCHIVE -C restored",
            )
        tail = decode_untrusted(encoded, Tail, most_bytes=_MAX_TAIL_BYTES)
    except UntrustedError as error:
        raise BadArchiveError(f"the index at the end cannot be read: {error}") from None
    sizes_fit = all(0 < size <= FRAME_BYTES and 0 < compressed <= 2 * FRAME_BYTES for compressed, size in tail.frames)
    if not sizes_fit or sum(compressed for compressed, _ in tail.frames) != body_bytes:
        raise BadArchiveError("the index does not describe this file")
    if not 0 < tail.manifest_frame < len(tail.frames):
        raise BadArchiveError("the index places the manifest where it cannot be")
    return tail


class _Demand(msgspec.Struct):
    """The one field of the tail that every version must be able to read."""

    min_reader: int


def _open_regular(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise OperationError(
            f"the archive cannot be opened: {error.strerror}", where=str(path), hint=here("backup", "list")
        ) from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OperationError("the archive is not a regular file", where=str(path))
    return fd


def _named(error: BadArchiveError | OSError, path: Path) -> BadArchiveError:
    """Return the error with the archive's path added. A disk read error counts as damage."""
    if isinstance(error, OSError):
        return BadArchiveError(f"cannot be read: {error.strerror or error}", where=str(path))
    problem = error.problems[0]
    return BadArchiveError(problem.message, where=str(path), hint=problem.hint)


def verify_contents(archive: Archive, observer: BackupObserver) -> None:
    """Reads every byte and compares every sha256. Raises BadArchiveError that names the first member that differs."""
    observer.step("verify", archive.tail.data_bytes)
    for entry, pieces in archive.members():
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
            observer.advance(len(piece))
        if entry.type == "file" and not entry.target and digest.hexdigest() != entry.sha256:
            raise BadArchiveError(f"member {printable(entry.name)!r} has a different sha256", where=str(archive.path))
