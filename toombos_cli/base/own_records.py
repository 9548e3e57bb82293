"""JSON that toombos writes for itself: it also carries text that is not UTF-8.

Linux allows any bytes but NUL in environment variables and paths. Python holds what is not UTF-8 as surrogates, which
JSON forbids. Here such a text is written as NUL followed by one character per byte; it is the same again when read.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from toombos_cli.base.plain_files import MOST_BYTES, read_plain
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted

T = TypeVar("T")
_MARK = "\0"
_MARK_IN_JSON = b'"\\u0000'


def encode_own(value: Any) -> bytes:
    """Return the value as JSON that `decode_own` understands."""
    try:
        content = msgspec.json.encode(value)
    except UnicodeEncodeError:
        content = _MARK_IN_JSON
    if _MARK_IN_JSON not in content:
        return content
    return msgspec.json.encode(_mapped(msgspec.to_builtins(value), _as_json_text))


def read_own(path: Path, kind: type[T], *, follows_link: bool = False) -> T:
    """Return the value of this type that a file of toombos holds. Raise UntrustedError, and OSError as `read_plain`."""
    value: T = decode_own(read_plain(path, follows_link=follows_link), kind)
    return value


def decode_own(
    content: bytes,
    kind: Any,
    *,
    most_bytes: int = MOST_BYTES,
    dec_hook: Callable[[type, Any], Any] | None = None,
) -> Any:
    """Return the value of this type that `encode_own` wrote. Raise UntrustedError."""
    if _MARK_IN_JSON not in content:
        return decode_untrusted(content, kind, most_bytes=most_bytes, dec_hook=dec_hook)
    plain = _mapped(decode_untrusted(content, most_bytes=most_bytes), _as_python_text)
    try:
        return msgspec.convert(plain, kind, dec_hook=dec_hook)
    except msgspec.ValidationError as error:
        raise UntrustedError(str(error)) from None


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """Return a copy of a tree of lists and objects with every text changed, keys included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {_mapped(key, change): _mapped(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(item, change) for item in value]
    return value


def _as_json_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return _MARK + os.fsencode(text).decode("latin-1")
    return _MARK + text.encode().decode("latin-1") if text.startswith(_MARK) else text


def _as_python_text(text: str) -> str:
    if not text.startswith(_MARK):
        return text
    try:
        return os.fsdecode(text[1:].encode("latin-1"))
    except UnicodeEncodeError:
        raise UntrustedError("a marked text has a character that is no byte") from None
