"""The records that describe an archive: the header, the manifest's entries and the tail index.

docs/backup-format.md describes the format. Paths are bytes on disk; in JSON they are text if they are valid
UTF-8, and base64 (`path_b64`) if not.
"""

from typing import Any, Literal

import msgspec

PLAIN_FORMAT, ATTRIBUTES_FORMAT, LINKS_FORMAT, HOLES_FORMAT = 1, 2, 3, 4
FORMAT = HOLES_FORMAT
"""The newest format that this version reads.

Format 2 adds `xattrs`; format 3 symbolic links that leave their root, hard links, FIFOs and times outside of 1677 to
2262; format 4 files with holes (`data`). An archive that has none of these is written in the older format.
"""

HEADER_NAME = b"toombos-backup.json"
INSTRUCTIONS_NAME = b"RESTORE.txt"
MANIFEST_NAME = b"manifest.json"

_NANOSECONDS = 1_000_000_000

Extents = tuple[tuple[int, int], ...]
"""The offset and length of each piece of data in a file with holes, in order."""

EntryType = Literal["file", "dir", "symlink", "fifo"]
ArchiveKind = Literal["regular", "safety", "emergency"]


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """A top-level file or directory of the archive, relative to the project."""

    path: str
    log_days: float | None = None  # only files that changed in the last `log_days` days were taken


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first member of an archive, `toombos-backup.json`."""

    format: int
    min_reader: int
    created_at: str  # ISO 8601, UTC
    kind: ArchiveKind
    host: str
    version: str  # of toombos
    roots: tuple[Root, ...]


class DatabaseRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a database's integrity check, "ok" or the first complaint, and the row count of each table.

    `unjudged` is why a part of it could not be checked: the rest is sound. `needs` are the roles and extensions that
    a dump needs on its server.
    """

    integrity: str
    tables: dict[str, int] = {}
    unjudged: str = ""
    needs: dict[str, tuple[str, ...]] = {}

    @property
    def rows(self) -> int:
        """The number of rows in all tables."""
        return sum(self.tables.values())


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):  # there are many, and no cycles
    """One file, directory, symbolic link or FIFO of an archive.

    `flags`: "sparse" (in older formats: the file had holes), "shrunk" (it became shorter while it was read, and is
    padded with zeros), "changed" (it changed during each of three reads), "immutable", "append-only", "capabilities"
    (it had file capabilities). A file with a `link` is another name of the file that has that name, earlier in the
    archive. A file with holes has `data`, and only that is stored and hashed; older formats store its zeros too.
    """

    path: str = ""
    path_b64: bytes = b""
    type: EntryType
    size: int = 0
    sha256: str = ""
    data: Extents | None = None
    mode: int
    uid: int = 0
    gid: int = 0
    mtime_s: int = 0  # only of a time whose nanoseconds need more than 64 bits; `mtime_ns` is added to it
    mtime_ns: int = 0
    link: str = ""
    link_b64: bytes = b""
    flags: tuple[str, ...] = ()
    database: DatabaseRecord | None = None
    xattrs: dict[str, bytes] = {}

    @property
    def name(self) -> bytes:
        """The path as bytes, relative to the project, without a trailing slash."""
        return self.path_b64 or self.path.encode()

    @property
    def target(self) -> bytes:
        """The target of a symbolic link, or the first name of a file that has several, as bytes."""
        return self.link_b64 or self.link.encode()

    @property
    def time_ns(self) -> int:
        """The time of the last change, in nanoseconds since 1970."""
        return self.mtime_s * _NANOSECONDS + self.mtime_ns

    @property
    def content_bytes(self) -> int:
        """The number of bytes that follow the header: none for a further name of a file, or for a hole."""
        return 0 if self.link or self.link_b64 else sum(length for _, length in self.stored)

    @property
    def stored(self) -> Extents:
        """The pieces of a file that an archive stores, and of which `sha256` is the hash."""
        return ((0, self.size),) if self.data is None else self.data


class ArchiveManifest(msgspec.Struct, frozen=True, kw_only=True):
    """The last member of an archive, `manifest.json`: it lists everything in the archive.

    `front_sha256` is the sha256 of the first frame's content: the header and the instructions as written.
    """

    header: Header
    front_sha256: str
    entries: tuple[Entry, ...]
    unreadable: tuple[str, ...] = ()


class Tail(msgspec.Struct, frozen=True, kw_only=True):
    """The index at the end of the file: enough to list the archive without reading it.

    `frames` are (compressed, uncompressed) sizes in bytes, in file order; the manifest member starts at frame
    `manifest_frame`. `complete` means that every file was readable and every database sound. `crc32s` are those of the
    frames' contents, by which a later archive finds the frames that it can take over.
    """

    format: int
    min_reader: int
    created_at: str
    kind: ArchiveKind
    files: int
    data_bytes: int
    complete: bool
    manifest_frame: int
    manifest_bytes: int
    body_sha256: str
    frames: tuple[tuple[int, int], ...]
    crc32s: tuple[int, ...] = ()


def timed(nanoseconds: int) -> dict[str, Any]:
    """Return an Entry's time fields: JSON holds integers of 64 bits, file systems hold later times."""
    if is_far(nanoseconds):
        seconds, rest = divmod(nanoseconds, _NANOSECONDS)
        return {"mtime_s": seconds, "mtime_ns": rest}
    return {"mtime_ns": nanoseconds}


def is_far(nanoseconds: int) -> bool:
    """Report whether a time in nanoseconds does not fit into 64 bits."""
    return not -(2**63) < nanoseconds < 2**63


def named(name: bytes, target: bytes = b"") -> dict[str, Any]:
    """Return an Entry's path and link fields: as text if they are valid UTF-8, otherwise as base64."""
    fields: dict[str, Any] = {}
    for key, raw in (("path", name), ("link", target)):
        text = _utf8(raw)
        fields.update({f"{key}_b64": raw} if text is None else {key: text})
    return fields


def _utf8(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
