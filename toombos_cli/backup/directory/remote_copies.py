"""What was copied from here to which remote, with its checksum: the remote's own content is not believed.

It has a file of its own, because a copy is made without the lock of a backup.
"""

import msgspec

from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.durable import disk_errors
from toombos_cli.base.files import replace_file
from toombos_cli.base.locks import hold
from toombos_cli.base.own_records import encode_own, read_own
from toombos_cli.base.untrusted import UntrustedError

Copies = dict[str, dict[str, str]]
"""The sha256 of each copy, by the address of the remote and the name of the archive."""
_PATIENCE_S = 10.0


def copies_at(place: Place, url: str) -> dict[str, str]:
    """Return the sha256 of each archive that was copied from here to a remote, by name; {} if none is known."""
    return _load(place).get(url, {})


def record_copy(place: Place, url: str, name: str, sha256: str | None) -> None:
    """Record a copy, or with None that it was removed. Raise OperationError."""
    with disk_errors("the copy could not be recorded", place.copies), hold(place.directory, patience_s=_PATIENCE_S):
        copies = _load(place)
        there = {other: digest for other, digest in copies.get(url, {}).items() if other != name}
        copies[url] = there if sha256 is None else {**there, name: sha256}
        replace_file(place.copies, msgspec.json.format(encode_own(copies), indent=1) + b"\n", durable=True)


def _load(place: Place) -> Copies:
    try:
        return read_own(place.copies, Copies)
    except (OSError, UntrustedError):
        return {}
