"""Encrypted settings: `enc:` followed by a Fernet token, under a key made from API_KEY_ENCRYPTION_KEY.

The Fernet key is
`urlsafe_base64(sha256(API_KEY_ENCRYPTION_KEY as UTF-8))`, so any text of 32 characters or more works. The variable is
a random key, not a password chosen by a person, so no slow derivation is needed.
"""

import base64
import hashlib

ENCRYPTED_PREFIX = "enc:"
KEY_MIN_CHARS = 32


def fernet_key(encryption_key: str) -> bytes:
    """Return the Fernet key for API_KEY_ENCRYPTION_KEY. Raise ValueError if that is too short."""
    if len(encryption_key) < KEY_MIN_CHARS:
        raise ValueError(f"API_KEY_ENCRYPTION_KEY is shorter than {KEY_MIN_CHARS} characters")
    return base64.urlsafe_b64encode(hashlib.sha256(encryption_key.encode()).digest())


def decrypt(value: str, *, key: str) -> str:
    """Return the clear text of an `enc:` value. Raise ValueError, which contains no value, if the key does not fit."""
    from cryptography.fernet import Fernet, InvalidToken  # 60 ms that most starts do not need

    fernet = Fernet(fernet_key(key))
    try:
        return fernet.decrypt(value.removeprefix(ENCRYPTED_PREFIX)).decode()
    except (InvalidToken, ValueError):  # ValueError: not ASCII, or the clear text is not UTF-8
        raise ValueError("cannot be decrypted with API_KEY_ENCRYPTION_KEY") from None
