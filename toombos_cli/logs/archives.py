"""The older parts of a log, in files beside it: those that toombos cut off, and those that others rotated away.

Others are logrotate and its like: `NAME.log.1`, `NAME.log.2.gz`, `NAME.log-20261128`. With `copytruncate` such a file
is a copy, whose head may be the filler of the log; with `create` it is the log itself, and may still be written to.
"""

import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from toombos_cli.base.plain_files import open_plain_file, read_plain

OWN_NAME = re.compile(r"\.(\d{8}T\d{6}\.\d{3,})(\.gz)?")
_FOREIGN_NAME = re.compile(r"[.-]\d[\d.T_-]*(\.(gz|bz2|xz))?")
_PACKED = frozenset({".gz", ".bz2", ".xz"})
_FILLER_BYTES = 65_536 + 64
"""A filler is shorter than a block of the file system and the shortest filler."""
_COMPARED_BYTES = 2 * _FILLER_BYTES
_TRUNCATION_FOLLOWS_S = 10.0
SHORTEST_FILLER = 32
"""A shorter one could be the text of a service, so a cut leaves at least so many bytes if it can."""
_FILLER = re.compile(rb" {%d,}\n" % (SHORTEST_FILLER - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPart:
    """One older part. `at` is about when its last line was written, in seconds since the epoch."""

    path: Path
    at: float
    is_own: bool
    inode: tuple[int, int]

    @property
    def is_packed(self) -> bool:
        """Whether its file is compressed."""
        return self.path.suffix in _PACKED

    def content(self) -> bytes:
        """Return its lines, even if it was compressed since it was listed; b"" if it was pruned."""
        content = archive_content(self.path)
        return content if self.is_own else content[filler_length(content[:_FILLER_BYTES]) :]


def own_archives(log: Path) -> tuple[Path, ...]:
    """Return the finished archives of toombos, oldest first, each once even while it is being compressed."""
    return _each_once(path for path in _beside(log) if OWN_NAME.fullmatch(path.name, len(log.name)))


def foreign_archives(log: Path) -> tuple[LogPart, ...]:
    """Return what others rotated away, oldest first, as far as its compression can be read."""
    found = (path for path in _beside(log) if not OWN_NAME.fullmatch(path.name, len(log.name)))
    matching = (path for path in found if _FOREIGN_NAME.fullmatch(path.name, len(log.name)))
    listed = (_archive(path, is_own=False) for path in _each_once(matching))
    return tuple(sorted(filter(None, listed), key=lambda archive: archive.at))


def own_parts(log: Path) -> tuple[LogPart, ...]:
    """Return the archives of toombos, oldest first."""
    found = (_archive(path, is_own=True) for path in own_archives(log))
    return tuple(part for part in found if part is not None)


def older_parts(log: Path) -> tuple[LogPart, ...]:
    """Return the archives of toombos and of others, in the order in which their lines were written.

    A copy of the log that is not yet followed by its truncation is left out: the log has the same lines.
    """
    foreign = (archive for archive in foreign_archives(log) if not _is_copy_in_progress(archive, log))
    return tuple(sorted((*own_parts(log), *foreign), key=lambda archive: archive.at))


def archive_content(archive: Path) -> bytes:
    """Return the content of an archive's file, even if it was compressed since it was listed; b"" if it is gone."""
    packed = archive if archive.suffix in _PACKED else archive.with_name(f"{archive.name}.gz")
    if packed != archive:
        try:
            return read_plain(archive, None)
        except OSError:
            pass
    try:
        return _unpacked(packed.suffix, read_plain(packed, None))
    except (OSError, EOFError, ValueError):  # gone, or not finished by the program that compresses it
        return b""


def filler_length(head: bytes) -> int:
    """Return the length of the filler that a rotation left at the head of a log, 0 if there is none."""
    found = _FILLER.match(head)
    return found.end() if found else 0


def filler_at(fd: int) -> int:
    """Return the length of the filler at the head of an open file."""
    return filler_length(os.pread(fd, _FILLER_BYTES, 0))


def _is_copy_in_progress(archive: LogPart, log: Path) -> bool:
    """Report whether the log still has all lines of a copy that was just written: its truncation follows."""
    if archive.is_packed or archive.at < time.time() - _TRUNCATION_FOLLOWS_S:
        return False
    try:
        size, copied = log.stat().st_size, archive.path.stat()
        if size < copied.st_size or os.path.samestat(copied, log.stat()):
            return False
    except OSError:
        return False
    count = min(_COMPARED_BYTES, copied.st_size)
    begins = (0, copied.st_size - count)
    return all(_bytes_at(archive.path, begin, count) == _bytes_at(log, begin, count) for begin in begins)


def _beside(log: Path) -> Iterator[Path]:
    try:
        names = [entry for entry in os.listdir(log.parent) if entry.startswith(log.name) and entry != log.name]  # noqa: PTH208  (a tenth of the time of iterdir)
    except OSError:
        return
    for name in names:
        yield log.with_name(name)


def _each_once(found: Iterable[Path]) -> tuple[Path, ...]:
    """Return the files by name. One that is being compressed is there twice, and only the first of them is whole."""
    by_name = {path.with_suffix("") if path.suffix in _PACKED else path: path for path in sorted(found, reverse=True)}
    return tuple(reversed(by_name.values()))


def _archive(path: Path, *, is_own: bool) -> LogPart | None:
    try:
        found = path.stat()
    except OSError:  # gone, or compressed since it was listed
        packed = (path.with_name(path.name + suffix) for suffix in sorted(_PACKED) if path.suffix not in _PACKED)
        return next(filter(None, (_archive(other, is_own=is_own) for other in packed)), None)
    at = _time_in(path.name) if is_own else found.st_mtime
    return LogPart(path=path, at=at, is_own=is_own, inode=(found.st_dev, found.st_ino))


def _time_in(name: str) -> float:
    """Return the time in the name of an archive of toombos: its last line was written just before it."""
    import calendar

    found = OWN_NAME.search(name)
    moment, _, fraction = found[1].partition(".") if found else ("", "", "")
    return calendar.timegm(time.strptime(moment, "%Y%m%dT%H%M%S")) + float(f"0.{fraction}")


def _bytes_at(path: Path, offset: int, count: int) -> bytes:
    try:
        with open_plain_file(path) as file:
            return os.pread(file.fileno(), count, offset)
    except OSError:
        return b""


def _unpacked(suffix: str, content: bytes) -> bytes:
    if suffix == ".gz":
        import gzip

        return gzip.decompress(content)
    if suffix == ".bz2":
        import bz2

        return bz2.decompress(content)
    import lzma

    try:
        return lzma.decompress(content)
    except lzma.LZMAError as error:
        raise ValueError(str(error)) from None
