"""From a finished `.partial` to an archive under its final name: nothing gets that name before it was verified."""

import os
from pathlib import Path

from toombos_cli.backup.directory.naming import PARTIAL, checksum_path, created_at
from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.observer import BackupObserver
from toombos_cli.backup.transaction.staging import remove_tree
from toombos_cli.base.directories import sync_directory
from toombos_cli.base.files import replace_file
from toombos_cli.base.locks import is_held


def clear_leftovers(place: Place) -> None:
    """Removes what an operation that died left behind. The caller holds the lock: others at work without it said so."""
    for scratch in place.directory.glob(f"{place.scratch.name}*"):
        if not is_held(scratch):
            remove_tree(bytes(scratch))
    for path in place.directory.glob(f".*{PARTIAL}"):
        if not is_held(path):
            path.unlink(missing_ok=True)
    for checksum in place.directory.glob("*.sha256"):
        archive = checksum.with_suffix("")
        if created_at(archive.name) and not archive.exists():
            checksum.unlink(missing_ok=True)


def drop_from_cache(fd: int) -> None:
    """Makes the next read come from the disk, where the system can do that."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def publish(partial: Path, final: Path, sha256: str, observer: BackupObserver) -> None:
    """Gives a verified file its final name, which must be free, and writes the checksum file beside it."""
    observer.step("publish")
    try:
        os.link(partial, final)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        partial.rename(final)
    observer.step("unlink partial")
    partial.unlink(missing_ok=True)
    sync_directory(final.parent)
    observer.step("checksum")
    replace_file(checksum_path(final), f"{sha256}  {final.name}\n".encode(), durable=True)
