"""Reads the bytes of a body as text: by its byte order mark, or by the charset that its media type names."""

import codecs
import re

_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CHARSET = re.compile(r""";\s*charset\s*=\s*["']?([^\s;"']+)""", re.IGNORECASE)
_NO_CHARSETS = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"})
"""Codecs of Python's own, which take time by the square of the length, or raise whatever the policy for errors."""
_ESCAPE = re.compile(
    rb"\\(?:u[Dd][89ABab][0-9A-Fa-f]{2}\\u[Dd][C-Fc-f][0-9A-Fa-f]{2}|(u[Dd][89A-Fa-f][0-9A-Fa-f]{2})|.)", re.DOTALL
)
"""An escape sequence of JSON; the group matches an unpaired surrogate."""


def decoded(body: bytes, media_type: str) -> str:
    """Return the body as text, with U+FFFD for what its charset does not allow. An unknown charset counts as UTF-8."""
    mark, charset = _encoding(body, media_type)
    try:
        return body[len(mark) :].decode(charset, "replace")
    except (LookupError, ValueError):  # a codec that is not for text, or fails on any error
        return body.decode("utf-8", "replace")


def json_bytes(body: bytes, media_type: str) -> bytes:
    """Return the body as UTF-8 without a byte order mark; unpaired surrogates, which JSON allows, become U+FFFD.

    Bytes that its charset does not allow are returned as they are, so that the decoder of JSON names them.
    """
    mark, charset = _encoding(body, media_type)
    content = body[len(mark) :]
    if charset != "utf-8":
        try:
            content = content.decode(charset).encode()
        except (LookupError, ValueError):
            return body
    if b"\\ud" in content or b"\\uD" in content:
        content = _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], content)
    return content


def _encoding(body: bytes, media_type: str) -> tuple[bytes, str]:
    """Return the byte order mark, if any, and the name of the codec for the rest."""
    for mark, charset in _MARKS:
        if body.startswith(mark):
            return mark, charset
    named = _CHARSET.search(media_type)
    try:
        charset = codecs.lookup(named[1]).name if named else "utf-8"
    except (LookupError, ValueError):
        charset = "utf-8"
    return b"", "utf-8" if charset in _NO_CHARSETS else charset
