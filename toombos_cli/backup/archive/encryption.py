"""Archives encrypted with age (https://age-encryption.org/v1); `age -d` opens them without toombos."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from toombos_cli.backup.directory.naming import AGE_SUFFIX, SUFFIX
from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.directory.publish import drop_from_cache
from toombos_cli.backup.durable import disk_errors
from toombos_cli.backup.errors import BadArchiveError
from toombos_cli.backup.tree_removal import remove_tree
from toombos_cli.base.errors import ConfigurationError, OperationError
from toombos_cli.base.locks import share
from toombos_cli.base.quoting import quoted
from toombos_cli.settings.age_identity import KeyFault, KeyFile, KeyKind, read_key_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The recipients that archives are encrypted for (none: no encryption), and the file of the key that opens them."""

    recipients: tuple[str, ...] = ()
    identity: Path | None = None

    @property
    def can_open(self) -> bool:
        """Whether this machine has a usable key; one that fits the recipients is not needed to encrypt."""
        return self.identity is not None and read_key_file(self.identity).fault is None


NO_KEYS = Keys()


def is_encrypted(path: Path) -> bool:
    """Report whether the archive's name says that it is encrypted."""
    return path.name.endswith(AGE_SUFFIX)


def seal(plain: Path, target: Path, keys: Keys) -> str:
    """Encrypt a verified archive, read the result back, and return the sha256 of the encrypted file.

    With a usable identity it is decrypted again; without one, the bytes on the disk are compared with those written.
    """
    age = _pyrage()
    recipients = [_recipient(age, text) for text in keys.recipients]
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as out, plain.open("rb") as source:
        written = _Hashing(out)
        age.encrypt_io(source, written, recipients)
        out.flush()
        os.fsync(out.fileno())
        drop_from_cache(out.fileno())
    if _sha256(target) != written.digest.hexdigest():
        raise BadArchiveError("the encrypted archive does not read back as written", where=str(target))
    if keys.can_open:
        opened = _Hashing(None)
        _decrypt(target, opened, keys)
        if opened.digest.hexdigest() != _sha256(plain):
            raise BadArchiveError("the encrypted archive does not decrypt to the original", where=str(target))
    return written.digest.hexdigest()


@contextlib.contextmanager
def opened(path: Path, keys: Keys, place: Place) -> Iterator[Path]:
    """Yield the archive itself, or a decrypted copy in the backup directory that is removed afterwards."""
    if not is_encrypted(path):
        yield path
        return
    if keys.identity is None:
        raise OperationError(
            "the archive is encrypted, and no identity is configured",
            where=str(path),
            hint='[backup] age_identity = "PATH_OF_THE_KEY_FILE"',
        )
    scratch = place.directory / f"{place.scratch.name}-{secrets.token_hex(4)}"
    copy = scratch / path.name.replace(AGE_SUFFIX, SUFFIX)
    try:
        with disk_errors("the archive could not be decrypted", place.directory):
            place.create()
            scratch.mkdir(mode=0o700)
        with share(scratch):
            with disk_errors("the archive could not be decrypted", place.directory), copy.open("wb") as out:
                _decrypt(path, out, keys)
            yield copy
    finally:
        remove_tree(scratch)


class _Hashing:
    """A file object that hashes what is written to it and passes it on to `out`, if any."""

    def __init__(self, out: Any) -> None:
        self.digest = hashlib.sha256()
        self._out = out

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        if self._out is not None:
            self._out.write(data)
        return len(data)

    def flush(self) -> None:
        if self._out is not None:
            self._out.flush()


def _decrypt(path: Path, out: Any, keys: Keys) -> None:
    age = _pyrage()
    identity = keys.identity
    if identity is None:
        raise AssertionError("there is an identity")
    try:
        with path.open("rb") as source:
            age.decrypt_io(source, out, _identities(age, identity))
    except age.IdentityError as error:
        raise OperationError(f"the age identity is not valid: {error}", where=str(identity)) from None
    except (age.DecryptError, OSError) as error:
        if getattr(error, "errno", None):  # a disk error; the library's own errors have no errno
            raise
        raise BadArchiveError(
            f"cannot be decrypted: damaged, or encrypted for another key ({error})", where=str(path)
        ) from None


def _identities(age: ModuleType, path: Path) -> list[Any]:
    """Return the keys of an identity file. Raise OperationError with what to type if it has none that can be used."""
    found = read_key_file(path)
    if found.fault is not None:
        raise OperationError(
            f"the age identity cannot be used: {found.fault}",
            where=str(path),
            hint=_hint(found, quoted(path)),
        )
    if found.kind is KeyKind.SSH:
        return [age.ssh.Identity.from_buffer(found.content)]
    lines = (line.strip() for line in found.content.decode(errors="replace").splitlines())
    return [age.x25519.Identity.from_str(line) for line in lines if line.startswith("AGE-SECRET-KEY-")]


def _hint(found: KeyFile, path: str) -> str | None:
    """Return the command that makes a key file usable; none makes a key anew, which would open no archive."""
    if found.fault is not KeyFault.PASSPHRASE:
        return "bring the key file here, and set [backup] age_identity to its path"
    if found.kind is KeyKind.SSH:
        return f"cp {path} KEY && ssh-keygen -p -N '' -f KEY, then set [backup] age_identity to KEY"
    return f"(umask 077 && age -d -o KEY {path}), then set [backup] age_identity to KEY"


def _recipient(age: ModuleType, text: str) -> Any:
    """Return the recipient that a text names. A secret key in its place is never printed."""
    is_ssh = text.startswith("ssh-")
    if "SECRET-KEY" in text.upper() or "PRIVATE KEY" in text.upper():
        raise ConfigurationError(
            "a recipient is a secret key; it must be a public one",
            where="[backup] age_recipients",
            hint="make a new key, because this one stands in toombos.toml: age-keygen -o KEYFILE",
        )
    try:
        return age.ssh.Recipient.from_str(text) if is_ssh else age.x25519.Recipient.from_str(text)
    except age.RecipientError as error:
        raise ConfigurationError(
            f"{text!r} is no public key that archives can be encrypted for: {error}",
            where="[backup] age_recipients",
            hint="age1... of `age-keygen -y KEYFILE`, or a line of an ssh-ed25519 or ssh-rsa .pub file",
        ) from None


def _pyrage() -> ModuleType:
    try:
        import pyrage
    except ImportError:
        raise OperationError("encryption needs pyrage", hint="pip install 'toombos[age]'") from None
    module: ModuleType = pyrage
    return module


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
