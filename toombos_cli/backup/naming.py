"""The name of an archive tells when it was made: `toombos-20261123T224243Z-1f0a.tar.zst`."""

import re
import secrets
from datetime import UTC, datetime

SUFFIX = ".tar.zst"
AGE_SUFFIX = ".tar.zst.age"
_PATTERN = re.compile(r"toombos-(\d{8}T\d{6}Z)-[0-9a-f]{4}\.tar\.zst(\.age)?")


def new_name(at: datetime, *, encrypted: bool = False) -> str:
    """A name that sorts by time and that two archives of one second do not share."""
    stamp = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"toombos-{stamp}-{secrets.token_hex(2)}{AGE_SUFFIX if encrypted else SUFFIX}"


def created_at(name: str) -> datetime | None:
    """When an archive of this name was made; None for a name that toombos did not give."""
    match = _PATTERN.fullmatch(name)
    if match is None:
        return None
    try:
        return datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
