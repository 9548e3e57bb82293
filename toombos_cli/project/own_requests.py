"""Request ids of toombos's own requests: signed, so that no other client can keep its requests out of a diagnosis.

The key is a private file in `run/`. Where there is no `run/`, nothing is signed, and the requests count as anyone's.
"""

import hmac
import os
import re
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_KEY_BYTES = 32
_SIGNED = re.compile(r"(toombos-[A-Za-z0-9._-]{1,90})-([0-9a-f]{16})")

_MENTIONED = re.compile(r"toombos-[A-Za-z0-9._-]{1,90}-[0-9a-f]{16}(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class OwnRequests:
    """The request ids of one project, made and recognized with its key."""

    key: bytes | None

    @classmethod
    def of(cls, project: Path) -> "OwnRequests":
        """Return those of a project, with a new key if its `run/` has none."""
        path = project / "run" / "request-key"
        with suppress(OSError):
            key = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(key, "wb") as new:
                new.write(secrets.token_bytes(_KEY_BYTES))
        return cls(_read(path))

    @classmethod
    def known(cls, project: Path) -> "OwnRequests":
        """Return those of a project; without a key in its `run/`, no request is recognized."""
        return cls(_read(project / "run" / "request-key"))

    def new_id(self, purpose: str) -> str:
        """Return the id of one request, or of the requests of one round. The services return and log it."""
        shown = re.sub(r"[^A-Za-z0-9._-]", "", purpose)[:64]
        name = f"toombos-{shown}-{secrets.token_hex(8)}"
        return f"{name}-{self._signature(name)}" if self.key else name

    def includes(self, request_id: str) -> bool:
        """Report whether toombos sent a request with this id for this project."""
        match = _SIGNED.fullmatch(request_id)
        return bool(self.key and match and hmac.compare_digest(self._signature(match[1]), match[2]))

    def appear_in(self, line: str) -> bool:
        """Report whether the line contains the id of a request that toombos sent for this project."""
        return "toombos-" in line and any(self.includes(found) for found in _MENTIONED.findall(line))

    def _signature(self, name: str) -> str:
        return hmac.digest(self.key or b"", name.encode(), "sha256").hex()[:16]


def _read(path: Path) -> bytes | None:
    """Return the key, or None if the file is missing, not ours, or not a whole key."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(file, "rb") as stream:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return None
        key = stream.read(_KEY_BYTES)
    return key if len(key) == _KEY_BYTES else None
