"""Copies of archives in object stores (S3, GCS, Azure, a directory), through obstore.

Credentials come from the variables that obstore reads; for S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION,
AWS_ENDPOINT. An object appears when its upload is complete, so a final name is never a half-written archive.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

from toombos_cli.backup.directory import naming
from toombos_cli.backup.directory.naming import checksum_path
from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.durable import disk_errors
from toombos_cli.backup.errors import BadArchiveError
from toombos_cli.backup.observer import BackupObserver
from toombos_cli.base.addresses import is_loopback
from toombos_cli.base.errors import OperationError, UsageError
from toombos_cli.base.files import creating_privately, replacing
from toombos_cli.base.fixes import here
from toombos_cli.base.quoting import quoted
from toombos_cli.base.waiting import run_within

_PART_BYTES = 8 << 20
_ANSWER_WITHIN = "5s"


def is_remote(text: str) -> bool:
    """Report whether a text names an object store rather than a file."""
    return "://" in text


def send(archive: Path, url: str, observer: BackupObserver) -> str:
    """Upload an archive with its checksum file below `url`, read it back, and return its sha256.

    Raise OperationError, or BadArchiveError if the store returns different bytes: the copy then has no checksum file.
    """
    with creating_privately():  # in a directory, the copies are as private as the archives
        return run_within(lambda: _send(archive, url, observer))


def _send(archive: Path, url: str, observer: BackupObserver) -> str:
    obstore, store = _store(url)
    observer.step("upload", archive.stat().st_size)
    with _store_errors(obstore, url):
        with archive.open("rb") as file:
            obstore.put(store, archive.name, file, chunk_size=_PART_BYTES, max_concurrency=2)
        digest = hashlib.sha256()
        for chunk in obstore.get(store, archive.name).stream(min_chunk_size=_PART_BYTES):
            digest.update(chunk)
            observer.advance(len(chunk))
        with archive.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest.hexdigest():
                raise BadArchiveError("the store returned different bytes from those uploaded", where=url)
        checksum = f"{digest.hexdigest()}  {archive.name}\n".encode()
        obstore.put(store, checksum_path(archive).name, checksum)
    return digest.hexdigest()


def address_of(url: str, name: str) -> str:
    """Return the address of an archive at a remote."""
    return f"{url.rstrip('/')}/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteArchive:
    """An archive in an object store. `is_checked`: it has its checksum file, which is written after reading it back."""

    name: str
    created_at: datetime
    size_bytes: int
    is_checked: bool


def list_remote(url: str) -> dict[str, RemoteArchive]:
    """Return the archives directly below `url`, by name; objects with other names are ignored.

    Raise OperationError, within seconds if the store does not respond; UsageError if the address is not a store's.
    """
    obstore, store = _store(url, patient=False)
    with _store_errors(obstore, url):
        objects = run_within(lambda: obstore.list_with_delimiter(store)["objects"])
    sizes = {str(one["path"]).rpartition("/")[2]: int(one["size"]) for one in objects}
    return {
        name: RemoteArchive(
            name=name, created_at=made, size_bytes=size, is_checked=checksum_path(Path(name)).name in sizes
        )
        for name, size in sizes.items()
        if (made := naming.created_at(name)) is not None
    }


def read_digest(url: str, name: str, observer: BackupObserver) -> str:
    """Download an archive, keep nothing of it, and return its sha256. Raise OperationError."""
    obstore, store = _store(url)

    def read() -> str:
        digest = hashlib.sha256()
        with _store_errors(obstore, url):
            found = obstore.get(store, name)
            observer.step("download", found.meta["size"])
            for chunk in found.stream(min_chunk_size=_PART_BYTES):
                digest.update(chunk)
                observer.advance(len(chunk))
        return digest.hexdigest()

    return run_within(read)


def read_checksum(url: str, name: str) -> str:
    """Return what the checksum file of an archive at the remote says. Raise OperationError."""
    obstore, store = _store(url)
    with _store_errors(obstore, url):
        content = run_within(lambda: bytes(obstore.get(store, checksum_path(Path(name)).name).bytes()))
    return content.decode("ascii", "replace").partition(" ")[0]


def remove(url: str, name: str) -> None:
    """Remove an archive and its checksum file at the remote, for good. Raise OperationError."""
    obstore, store = _store(url)
    with _store_errors(obstore, url):
        run_within(lambda: obstore.delete(store, [name, checksum_path(Path(name)).name]))


def fetch(url: str, place: Place, observer: BackupObserver) -> Path:
    """Download an archive into the backup directory and return its path; verifying it is left to the caller.

    An archive that is already there is not downloaded again.
    """
    base, _, name = url.rpartition("/")
    if naming.created_at(name) is None:
        raise UsageError(
            f"{url} does not end with the name of an archive", hint=here("restore", "s3://BUCKET/PREFIX/ARCHIVE")
        )
    final = place.directory / name
    if final.exists():
        return final
    return run_within(lambda: _fetch(url, base, final, place, observer))


def _fetch(url: str, base: str, final: Path, place: Place, observer: BackupObserver) -> Path:
    obstore, store = _store(base)
    with disk_errors("the archive could not be downloaded", place.directory), _store_errors(obstore, url):
        place.create()
        found = obstore.get(store, final.name)
        observer.step("download", found.meta["size"])
        with replacing(final, durable=True) as out:
            for chunk in found.stream(min_chunk_size=_PART_BYTES):
                out.write(chunk)
                observer.advance(len(chunk))
    return final


def _store(url: str, *, patient: bool = True) -> tuple[ModuleType, Any]:
    """Return the client and the store. With `patient=False`, for listings, requests fail within seconds."""
    try:
        import obstore
        from obstore.store import from_url
    except ImportError:
        raise OperationError("a remote target needs obstore", where=url, hint="pip install 'toombos[remote]'") from None
    options: dict[str, Any] = {}
    endpoint = os.environ.get("AWS_ENDPOINT") or os.environ.get("AWS_ENDPOINT_URL") or ""
    if is_loopback(urlsplit(endpoint).hostname or ""):
        options["client_options"] = {"allow_http": True}  # unencrypted only to this machine
    if not patient:
        options["client_options"] = options.get("client_options", {}) | {"timeout": _ANSWER_WITHIN}
        options["retry_config"] = {"max_retries": 1, "retry_timeout": timedelta(seconds=5)}
    if url.startswith("file:"):
        options = {}
        _require_directory(url)
    try:
        return obstore, from_url(url, **options)
    except (obstore.exceptions.BaseError, ValueError, OSError) as error:
        raise UsageError(f"the remote target cannot be used: {error}", where=url) from None


def _require_directory(url: str) -> None:
    """Raise OperationError if the directory of a file URL does not exist: a disk that should be there is not mounted.

    It is never created, because the copies would then be on the disk that they are to survive.
    """
    directory = directory_of(url)
    if not directory.is_dir():
        problem = "is not a directory" if directory.exists() else "does not exist"
        raise OperationError(
            f"the directory of the remote {problem}",
            where=url,
            hint=f"mount its disk, or create it: mkdir -m 700 -p {quoted(directory)}",
        )


def directory_of(url: str) -> Path:
    """Return the directory that a file URL names."""
    return Path(unquote(urlsplit(url).path))


@contextlib.contextmanager
def _store_errors(obstore: ModuleType, url: str) -> Iterator[None]:
    """Turn errors of the store's client into an OperationError that names the address."""
    try:
        yield
    except (obstore.exceptions.BaseError, OSError) as error:
        first = str(error).splitlines()[0]
        raise OperationError(f"the remote store failed: {first}", where=url) from None
