"""Full verification: reads every byte of an archive and compares every member's sha256."""

import hashlib

from toombos_cli.backup.archive.reader import Archive
from toombos_cli.backup.errors import BadArchiveError
from toombos_cli.backup.observer import Observer
from toombos_cli.base.text import printable


def verify_contents(archive: Archive, observer: Observer) -> None:
    """Raise BadArchiveError, naming the first damaged member, unless the archive is whole."""
    observer.step("verify", archive.tail.data_bytes)
    for entry, pieces in archive.members():
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
            observer.advance(len(piece))
        if entry.type == "file" and digest.hexdigest() != entry.sha256:
            raise BadArchiveError(f"member {printable(entry.name)!r} has a different sha256", where=str(archive.path))
