"""Forge archives with a valid form and false content, as a hostile or broken writer could produce them."""

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from backports import zstd

from toombos_cli.backup.archive import tarblocks
from toombos_cli.backup.archive.format import ArchiveManifest, Entry, Header, Root, Tail
from toombos_cli.backup.archive.frames import FRAME_BYTES
from toombos_cli.backup.archive.reader import Archive
from toombos_cli.backup.archive.writer import (
    SKIPPABLE_MAGIC,
    TAIL_FOOTER,
    TAIL_MAGIC,
    front_matter,
    is_complete,
    manifest_member,
)

CHECKSUM = {zstd.CompressionParameter.checksum_flag: 1}


def header(roots: Iterable[str] = ("data",)) -> Header:
    return Header(
        format=1,
        min_reader=1,
        created_at="2026-01-01T00:00:00+00:00",
        kind="regular",
        host="test",
        version="1",
        roots=tuple(Root(path=root) for root in roots),
    )


def file_entry(path: str, content: bytes = b"x", **more: object) -> Entry:
    sha256 = hashlib.sha256(content).hexdigest()
    return msgspec.structs.replace(Entry(path=path, type="file", size=len(content), sha256=sha256, mode=0o644), **more)


def build(
    path: Path,
    members: Iterable[tuple[Entry, bytes]],
    *,
    roots: Iterable[str] = ("data",),
    stream: Callable[[bytes], bytes] = lambda data: data,
    manifest: Callable[[bytes], bytes] = lambda encoded: encoded,
    tail: Callable[[Tail], Tail] = lambda tail: tail,
) -> Path:
    """Write an archive of these members; the three functions falsify the tar stream, the manifest and the index."""
    members = list(members)
    head = header(roots)
    front = b"".join(front_matter(head))
    data = stream(
        b"".join(tarblocks.member_header(e) + content + tarblocks.padding(len(content)) for e, content in members)
    )
    listing = ArchiveManifest(
        header=head, front_sha256=hashlib.sha256(front).hexdigest(), entries=tuple(entry for entry, _ in members)
    )
    encoded = manifest(msgspec.json.encode(listing))
    member = b"".join(manifest_member(encoded))
    before = [front, *([data] if data else [])]
    contents = before + [member[at : at + FRAME_BYTES] for at in range(0, len(member), FRAME_BYTES)]
    frames = [zstd.compress(content, options=CHECKSUM) for content in contents]
    files = [entry for entry, _ in members if entry.type == "file"]
    index = Tail(
        format=1,
        min_reader=1,
        created_at=head.created_at,
        kind="regular",
        files=len(files),
        data_bytes=sum(entry.size for entry in files),
        complete=is_complete(listing),
        manifest_frame=len(before),
        manifest_bytes=len(encoded),
        body_sha256=hashlib.sha256(b"".join(frames)).hexdigest(),
        frames=tuple((len(frame), len(content)) for frame, content in zip(frames, contents, strict=True)),
    )
    path.write_bytes(b"".join(frames) + raw_tail(msgspec.json.encode(tail(index))))
    return path


def forge(path: Path, *, tail: Callable[[Tail], Tail]) -> None:
    """Falsify the index of an existing archive, including its own checksum."""
    with Archive(path) as archive:
        index = archive.tail
    body = sum(compressed for compressed, _ in index.frames)
    path.write_bytes(path.read_bytes()[:body] + raw_tail(msgspec.json.encode(tail(index))))


def raw_tail(encoded: bytes) -> bytes:
    """Return a tail frame around any bytes, with a valid checksum and magic."""
    footer = TAIL_FOOTER.pack(zlib.crc32(encoded), len(encoded), TAIL_MAGIC)
    return struct.pack("<II", SKIPPABLE_MAGIC, len(encoded) + len(footer)) + encoded + footer
