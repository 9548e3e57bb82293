"""The allow-list of names and links in an archive, applied both when it is written and when it is read."""

import itertools
from collections.abc import Iterable, Mapping, Sequence

from toombos_cli.backup.archive.attributes import VALUE_MAX_BYTES, is_kept
from toombos_cli.backup.archive.format import HEADER_NAME, INSTRUCTIONS_NAME, MANIFEST_NAME, Entry, Extents, Root
from toombos_cli.backup.archive.holes import MOST_EXTENTS
from toombos_cli.backup.archive.tarblocks import BLOCK
from toombos_cli.backup.errors import BadArchiveError
from toombos_cli.base.text import printable

_RESERVED = frozenset((HEADER_NAME, INSTRUCTIONS_NAME, MANIFEST_NAME))
_MAX_ID = 2**32 - 2
_MAX_INT64 = 2**63 - 1
_FORBIDDEN_PARTS = frozenset((b"", b".", b".."))


def check_roots(roots: Iterable[Root]) -> tuple[bytes, ...]:
    """Return the roots' names. Raises BadArchiveError if one is not a plain relative path or is inside another."""
    names = tuple(root.path.encode() for root in roots)
    for name in names:
        complaint = name_complaint(name)
        if complaint:
            raise BadArchiveError(f"root {printable(name)!r} {complaint}")
    for one, other in itertools.permutations(names, 2):
        if is_within(one, other):
            raise BadArchiveError(f"root {printable(one)!r} is inside root {printable(other)!r}")
    return names


def check_entries(entries: Sequence[Entry], roots: Sequence[bytes]) -> None:
    """Raise BadArchiveError for the first entry that must not be restored."""
    seen: dict[bytes, Entry] = {}
    for entry in entries:
        name = entry.name
        complaint = name_complaint(name) or _number_complaint(entry) or _shape_complaint(entry, name)
        if not complaint and name in seen:
            complaint = "occurs twice"
        parent = name.rpartition(b"/")[0]
        if not complaint and parent and not (parent in seen and seen[parent].type == "dir"):
            complaint = "is not in a directory of the archive"
        if not complaint:
            complaint = _place_complaint(entry, name, roots) or _second_name_complaint(entry, seen)
        if complaint:
            raise BadArchiveError(f"member {printable(name)!r} {complaint}", hint="the whole archive is refused")
        seen[name] = entry


def name_complaint(name: bytes) -> str | None:
    """Return why a name is not a plain path below the project, or None if it is one."""
    parts = name.split(b"/")
    if not name or b"\0" in name:
        return "has an empty name or a NUL in it"
    if name.startswith(b"/"):
        return "is an absolute path"
    if not _FORBIDDEN_PARTS.isdisjoint(parts):
        return "has an empty, '.' or '..' part"
    if len(name) > 4000 or max(map(len, parts)) > 255:
        return "has a name that is too long"
    return None


def link_complaint(target: bytes) -> str | None:
    """Return why a symbolic link cannot exist, or None. It may lead anywhere: no member is unpacked through a link."""
    if not target or b"\0" in target:
        return "is a link to an empty name"
    return "is a link to a name that is too long" if len(target) > 4095 else None


def is_within(name: bytes, top: bytes) -> bool:
    """Report whether a name is `top` or below it."""
    return name == top or name.startswith(top + b"/")


def root_of(name: bytes, roots: Iterable[bytes]) -> bytes | None:
    """Return the root that contains a name, or None."""
    return next((root for root in roots if is_within(name, root)), None)


def _place_complaint(entry: Entry, name: bytes, roots: Sequence[bytes]) -> str | None:
    root = root_of(name, roots)
    if root is None:
        is_above = entry.type == "dir" and any(is_within(other, name) for other in roots)
        return None if is_above else "is outside the archive's roots"
    if entry.type != "symlink":
        return None
    return "is a root, and a link" if name == root else link_complaint(entry.target)


def _second_name_complaint(entry: Entry, seen: Mapping[bytes, Entry]) -> str | None:
    """Return why a further name of a file does not name an earlier file of the archive, or None if it does."""
    if entry.type != "file" or not entry.target:
        return None
    first = seen.get(entry.target)
    is_same = first and first.type == "file" and not first.target and _content(first) == _content(entry)
    return None if is_same else "is another name of a file that is not in the archive"


def _content(entry: Entry) -> tuple[object, ...]:
    return entry.size, entry.sha256, entry.data


def _number_complaint(entry: Entry) -> str | None:
    if not 0 <= entry.mode <= 0o7777:
        return f"has the mode {entry.mode:o}"
    if not (0 <= entry.uid <= _MAX_ID and 0 <= entry.gid <= _MAX_ID):
        return "has an impossible owner"
    if not 0 <= entry.size <= _MAX_INT64 or max(abs(entry.mtime_ns), abs(entry.mtime_s)) > _MAX_INT64:
        return "has an impossible size or time"
    return None


def _may_have(attribute: tuple[str, bytes]) -> bool:
    name, value = attribute
    return is_kept(name) and len(value) <= VALUE_MAX_BYTES


def _shape_complaint(entry: Entry, name: bytes) -> str | None:
    if (entry.path and entry.path_b64) or (entry.link and entry.link_b64):
        return "has two names or two link targets"
    if entry.xattrs and (entry.type in ("symlink", "fifo") or not all(map(_may_have, entry.xattrs.items()))):
        return "has extended attributes that no backup keeps"
    if name in _RESERVED:
        return "has a name that is reserved for the archive itself"
    if entry.type == "file":
        is_hash = len(entry.sha256) == 64 and not entry.sha256.strip("0123456789abcdef")
        if not is_hash:
            return "is a file without a checksum"
        return None if entry.data is None else _hole_complaint(entry.data, entry.size)
    if entry.size or entry.sha256 or entry.database or entry.data is not None:
        return f"is a {entry.type} with content"
    return f"is a {entry.type} with a link target" if entry.type != "symlink" and entry.target else None


def _hole_complaint(data: Extents, size: int) -> str | None:
    """Return why the data of a file cannot lie there, or None. Only the last piece may end within a block."""
    at = 0
    for number, (start, length) in enumerate(data):
        end = start + length
        is_whole = length % BLOCK == 0 or (end == size and number == len(data) - 1)
        if start < at or length <= 0 or end > size or not is_whole:
            return "has an impossible map of holes"
        at = end
    return "has too many holes" if len(data) > MOST_EXTENTS else None
