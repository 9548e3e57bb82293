"""Encrypted values of `.env`: `enc:` followed by a Fernet token, with a key derived from the encryption key's text.

The Fernet key is `urlsafe_base64(sha256(key text as UTF-8))`; the text is random and at least 32 characters long, so
no slow derivation is needed. The services decrypt by the same formula (services/common/secrets.py), and a contract
test holds the two together.
"""

import base64
import hashlib

ENCRYPTED_PREFIX = "enc:"
KEY_MIN_CHARS = 32


class DecryptionError(ValueError):
    """A value that cannot be decrypted; the message never quotes it."""


def is_encrypted(value: str) -> bool:
    """Report whether a value of `.env` is encrypted."""
    return value.startswith(ENCRYPTED_PREFIX)


def fernet_key(key_text: str) -> bytes:
    """Return the Fernet key for an encryption key's text. Raise DecryptionError if it is empty or too short."""
    if not key_text:
        raise DecryptionError("no key is set")
    if len(key_text) < KEY_MIN_CHARS:
        raise DecryptionError(f"the encryption key is shorter than {KEY_MIN_CHARS} characters")
    return base64.urlsafe_b64encode(hashlib.sha256(key_text.encode()).digest())


def encrypt(value: str, key_text: str) -> str:
    """Return the `enc:` form of a plain text: printable ASCII without spaces or quotes. Raise DecryptionError."""
    from cryptography.fernet import Fernet

    return ENCRYPTED_PREFIX + Fernet(fernet_key(key_text)).encrypt(value.encode()).decode()


def decrypt(value: str, key_text: str) -> str:
    """Return the plain text of an `enc:` value. Raise DecryptionError if it is damaged or the key is wrong."""
    from cryptography.fernet import Fernet, InvalidToken

    try:
        return Fernet(fernet_key(key_text)).decrypt(value.removeprefix(ENCRYPTED_PREFIX)).decode()
    except (InvalidToken, UnicodeDecodeError):
        raise DecryptionError("it is damaged, or was encrypted with another key") from None
