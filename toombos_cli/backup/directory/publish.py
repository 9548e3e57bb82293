"""Turns a finished `.partial` into an archive under its final name; only verified files get such a name."""

import os
from pathlib import Path

from toombos_cli.backup.directory.naming import PARTIAL, checksum_path, created_at
from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.observer import BackupObserver
from toombos_cli.backup.tree_removal import remove_tree
from toombos_cli.base.directories import sync_directory
from toombos_cli.base.files import replace_file
from toombos_cli.base.locks import is_held


def clear_leftovers(place: Place) -> None:
    """Remove the leftovers of operations that died, except files locked by operations without the backup lock.

    The caller holds the backup lock.
    """
    for scratch in place.directory.glob(f"{place.scratch.name}*"):
        if not is_held(scratch):
            remove_tree(scratch)
    for path in place.directory.glob(f".*{PARTIAL}"):
        if not is_held(path):
            path.unlink(missing_ok=True)
    for checksum in place.directory.glob("*.sha256"):
        archive = checksum.with_suffix("")
        if created_at(archive.name) and not archive.exists():
            checksum.unlink(missing_ok=True)


def drop_from_cache(fd: int) -> None:
    """Make the next read come from the disk, if the system supports that."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def publish(partial: Path, final: Path, sha256: str, observer: BackupObserver) -> None:
    """Give a verified file its final name, which must be free, and write the checksum file beside it."""
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
