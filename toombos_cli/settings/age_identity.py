"""Reads the file of the key that opens encrypted archives, without the library that uses it."""

import base64
import binascii
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class KeyKind(StrEnum):
    """What a key file contains."""

    AGE = "age"
    SSH = "ssh"


class KeyFault(StrEnum):
    """Why a key file cannot be used."""

    MISSING = "it does not exist"
    UNREADABLE = "it cannot be read"
    PASSPHRASE = "it is protected by a passphrase, and nobody is asked for it here"  # noqa: S105 (no password)
    NO_KEY = "it contains no age or SSH key"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """The content of a key file: either `fault`, or the kind of the key and its content."""

    kind: KeyKind = KeyKind.AGE
    content: bytes = b""
    fault: KeyFault | None = None


_AGE = b"AGE-SECRET-KEY-"
_AGE_ENCRYPTED = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")
_OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_PEM = b"-----BEGIN RSA PRIVATE KEY-----"
_OPENSSH_MAGIC = b"openssh-key-v1\0"


def read_key_file(path: Path) -> KeyFile:
    """Return what a key file contains. Never raises for a file that is missing or has another content."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return KeyFile(fault=KeyFault.MISSING)
    except OSError:
        return KeyFile(fault=KeyFault.UNREADABLE)
    text = content.lstrip()
    if text.startswith(_AGE_ENCRYPTED):
        return KeyFile(fault=KeyFault.PASSPHRASE)
    if text.startswith((_OPENSSH, _PEM)):
        fault = KeyFault.PASSPHRASE if _is_encrypted(text) else None
        return KeyFile(kind=KeyKind.SSH, content=content, fault=fault)
    if any(line.lstrip().startswith(_AGE) for line in content.splitlines()):
        return KeyFile(content=content)
    return KeyFile(fault=KeyFault.NO_KEY)


def _is_encrypted(text: bytes) -> bool:
    """Report whether a passphrase protects an SSH key: the cipher of an OpenSSH key, or the head of a PEM file."""
    if text.startswith(_PEM):
        return b"ENCRYPTED" in text.partition(b"\n\n")[0]
    try:
        body = base64.b64decode(b"".join(text.splitlines()[1:-1]))
    except binascii.Error:
        return False
    cipher = body.removeprefix(_OPENSSH_MAGIC)
    return cipher[4 : 4 + int.from_bytes(cipher[:4], "big")] != b"none"
