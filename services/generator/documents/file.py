"""LIVING_DOC_TYPE=file: a Markdown file on this machine, by default the packaged one."""

import asyncio
import stat
from pathlib import Path

from services.generator.documents.model import DocumentUnavailableError
from services.generator.documents.source import MAX_DOCUMENT_BYTES, decode

PACKAGED_DOCUMENT = Path(__file__).with_name("living_document.md")

_Stamp = tuple[int, int, int, int]


class FileSource:
    """A file, read again if its inode, size or times have changed; a copy may preserve some of these, but never all."""

    kind = "file"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cached: tuple[_Stamp, str] | None = None

    async def read(self, *, refresh: bool) -> str:
        try:
            status = self._path.stat()  # one system call: faster than handing it to a thread
            if not stat.S_ISREG(status.st_mode):  # opening a pipe waits for its writer, maybe for ever
                raise DocumentUnavailableError(f"{self._path}: not a regular file")
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if self._cached is not None and self._cached[0] == stamp and not refresh:
                return self._cached[1]
            raw = await asyncio.to_thread(self._read_bytes)
        except OSError as error:
            raise DocumentUnavailableError(f"{self._path}: {error.strerror or error}") from error
        text = decode(raw, what=str(self._path))
        self._cached = (stamp, text)
        return text

    def _read_bytes(self) -> bytes:
        with self._path.open("rb") as stream:
            return stream.read(MAX_DOCUMENT_BYTES + 1)
