"""Encrypted values of `.env`: `enc:` followed by a Fernet token under a key made from the encryption key's text.

The Fernet key is `urlsafe_base64(sha256(key text as UTF-8))`; the text is random and at least 32 characters long, so
no slow derivation is needed. The services decrypt by the same formula (services/common/secrets.py), and a contract
test holds the two together.
"""

import base64
import hashlib

ENCRYPTED_PREFIX = "enc:"
KEY_MIN_CHARS = 32


class DecryptionError(ValueError):
    """A value cannot be decrypted; the message never quotes it."""


def is_encrypted(value: str) -> bool:
    """Whether a value of `.env` is stored encrypted."""
    return value.startswith(ENCRYPTED_PREFIX)


def fernet_key(key_text: str) -> bytes:
    """The Fernet key of an encryption key's text. Raises DecryptionError when there is none, or it is too short."""
    if not key_text:
        raise DecryptionError("no key is set")
    if len(key_text) < KEY_MIN_CHARS:
        raise DecryptionError(f"the encryption key is shorter than {KEY_MIN_CHARS} characters")
    return base64.urlsafe_b64encode(hashlib.sha256(key_text.encode()).digest())


def encrypt(value: str, key_text: str) -> str:
    """The `enc:` form of a clear text: printable ASCII without spaces or quotes. Raises DecryptionError."""
    from cryptography.fernet import Fernet

    return ENCRYPTED_PREFIX + Fernet(fernet_key(key_text)).encrypt(value.encode()).decode()


def decrypt(value: str, key_text: str) -> str:
    """The clear text of an `enc:` value. Raises DecryptionError when it is damaged or the key is another one."""
    from cryptography.fernet import Fernet, InvalidToken

    try:
        return Fernet(fernet_key(key_text)).decrypt(value.removeprefix(ENCRYPTED_PREFIX)).decode()
    except (InvalidToken, UnicodeDecodeError):
        raise DecryptionError("it is damaged, or was encrypted with another key") from None
