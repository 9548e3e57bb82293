"""Writes one archive: header, instructions, members, manifest, tail index. The caller chooses the members."""

import hashlib
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

import msgspec

from toombos_cli.backup.archive import tarblocks
from toombos_cli.backup.archive.format import (
    HEADER_NAME,
    HOLES_FORMAT,
    INSTRUCTIONS_NAME,
    MANIFEST_NAME,
    ArchiveManifest,
    DatabaseRecord,
    Entry,
    Header,
    Tail,
)
from toombos_cli.backup.archive.frames import FrameSource, FrameWriter
from toombos_cli.backup.archive.restore_txt import RESTORE_TXT

# A skippable zstd frame (RFC 8878, 3.1.2), which zstd and tar ignore.
SKIPPABLE_MAGIC = 0x184D2A5D
_LARGE_BYTES = 1 << 20  # a file from this size on has frames of its own, which do not depend on its header
TAIL_MAGIC = b"TOOMBOS1"
TAIL_FOOTER = struct.Struct("<II8s")  # crc32 and length of the JSON before it, and the magic


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A finished archive; `sha256` covers the whole file."""

    manifest: ArchiveManifest
    tail: Tail
    sha256: str


class ArchiveWriter:
    """Writes members in order, each directory before its contents; `finish` completes the archive."""

    def __init__(self, out: BinaryIO, header: Header, earlier: FrameSource | None = None) -> None:
        self._out = out
        self._header = header
        self._frames = FrameWriter(out, earlier)
        self._entries: list[Entry] = []
        front = b"".join(front_matter(header))
        self._front_sha256 = hashlib.sha256(front).hexdigest()
        self._frames.write(front)
        self._frames.cut()

    @property
    def can_hold_holes(self) -> bool:
        """Whether readers of the format that the header names know files with holes."""
        return self._header.min_reader >= HOLES_FORMAT

    def add(self, entry: Entry, content: Iterable[bytes] = ()) -> Entry:
        """Write a member and return its entry with the checksum.

        `content` must yield exactly `entry.content_bytes`; a further name of a file has none.
        """
        self._frames.write(tarblocks.member_header(entry))
        if entry.type == "file" and not entry.target:
            entry = msgspec.structs.replace(entry, sha256=self._add_content(entry, content))
        self._frames.end_group(entry.name)
        self._entries.append(entry)
        return entry

    def _add_content(self, entry: Entry, content: Iterable[bytes]) -> str:
        """Write a file's content and return its sha256."""
        is_large = entry.content_bytes >= _LARGE_BYTES
        if is_large:
            self._frames.cut()
        digest, size_bytes = hashlib.sha256(), 0
        for chunk in content:
            digest.update(chunk)
            self._frames.write(chunk)
            size_bytes += len(chunk)
        if size_bytes != entry.content_bytes:
            raise RuntimeError(f"{entry.name!r}: {size_bytes} bytes follow a header of {entry.content_bytes}")
        if is_large:
            self._frames.cut()
        self._frames.write(tarblocks.padding(size_bytes))
        return digest.hexdigest()

    def flag_last(self, flag: str) -> Entry:
        """Add a flag to the last entry, for something that became known only while its content was read."""
        return self._amend(flags=(*self._entries[-1].flags, flag))

    def attach(self, facts: DatabaseRecord) -> Entry:
        """Mark the last entry as a database, with the result of its check."""
        return self._amend(database=facts)

    def _amend(self, **changes: Any) -> Entry:
        self._entries[-1] = msgspec.structs.replace(self._entries[-1], **changes)
        return self._entries[-1]

    def finish(self, unreadable: tuple[str, ...] = ()) -> Written:
        """Write the manifest and the tail. The caller syncs and publishes the file."""
        manifest = ArchiveManifest(
            header=self._header,
            front_sha256=self._front_sha256,
            entries=tuple(self._entries),
            unreadable=unreadable,
        )
        encoded = msgspec.json.encode(manifest)
        manifest_frame = self._frames.cut()
        for block in manifest_member(encoded):
            self._frames.write(block)
        self._frames.finish()
        files = [entry for entry in self._entries if entry.type == "file"]
        tail = Tail(
            format=self._header.format,
            min_reader=self._header.min_reader,
            created_at=self._header.created_at,
            kind=self._header.kind,
            files=len(files),
            data_bytes=sum(entry.content_bytes for entry in files),
            complete=is_complete(manifest),
            manifest_frame=manifest_frame,
            manifest_bytes=len(encoded),
            body_sha256=self._frames.sha256.hexdigest(),
            frames=tuple(self._frames.frames),
            crc32s=tuple(self._frames.crc32s),
        )
        end = encode_tail(tail)
        self._out.write(end)
        self._frames.sha256.update(end)
        return Written(manifest=manifest, tail=tail, sha256=self._frames.sha256.hexdigest())

    def abandon(self) -> None:
        """Stop the worker threads of an archive that will not be finished."""
        self._frames.abandon()


def is_complete(manifest: ArchiveManifest) -> bool:
    """Report whether every file was readable and every database sound."""
    databases = (entry.database for entry in manifest.entries if entry.database)
    return not manifest.unreadable and all(facts.integrity == "ok" for facts in databases)


def front_matter(header: Header) -> Iterable[bytes]:
    """Yield the blocks of the first two members."""
    yield from _plain_member(HEADER_NAME, msgspec.json.format(msgspec.json.encode(header), indent=1) + b"\n")
    yield from _plain_member(INSTRUCTIONS_NAME, RESTORE_TXT.encode())


def manifest_member(encoded: bytes) -> Iterable[bytes]:
    """Yield the blocks of the manifest member, and the end of the tar stream."""
    yield from _plain_member(MANIFEST_NAME, encoded)
    yield tarblocks.END


def encode_tail(tail: Tail) -> bytes:
    """Return the skippable frame that ends an archive."""
    encoded = msgspec.json.encode(tail)
    footer = TAIL_FOOTER.pack(zlib.crc32(encoded), len(encoded), TAIL_MAGIC)
    return struct.pack("<II", SKIPPABLE_MAGIC, len(encoded) + len(footer)) + encoded + footer


def _plain_member(name: bytes, content: bytes) -> Iterable[bytes]:
    yield tarblocks.member_header(Entry(path=name.decode(), type="file", size=len(content), mode=0o600))
    yield content
    yield tarblocks.padding(len(content))
