"""Removes the content coding of a body as it arrives, never holding more than asked for.

httpx's own decoders expand each piece of a body completely, to a thousand times its size.
"""

import zlib

ACCEPTED = "gzip, deflate"
"""What a request accepts; a server that is not asked may choose any coding (RFC 9110, 12.5.3)."""

_GZIP = 16 + zlib.MAX_WBITS
_GZIP_MAGIC = b"\x1f"
_ZLIB_HEADER_BYTES = 2


class CodingError(Exception):
    """A body is not in the coding that its header names, or in one that is not known. The message says which."""


class Identity:
    """A body without a coding."""

    def decode(self, data: bytes, most_bytes: int) -> bytes:
        """Return at most so many bytes of the body; the rest of the data is dropped."""
        return data[:most_bytes]

    def end(self) -> None:
        """Accept the end of the body."""


class Compressed(Identity):
    """A body in gzip, which may have several members, or in deflate, with the header of zlib or without."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._is_gzip = coding.endswith("gzip")
        self._zlib = zlib.decompressobj(_GZIP if self._is_gzip else zlib.MAX_WBITS)
        self._header = b""

    def decode(self, data: bytes, most_bytes: int) -> bytes:
        """Return at most so many bytes of the decoded body; the rest is dropped. Raise CodingError."""
        found = bytearray()
        while data and len(found) < most_bytes:
            if self._zlib.eof:
                if not self._is_gzip or not data.startswith(_GZIP_MAGIC):  # padding, which gzip(1) ignores too
                    break
                self._zlib = zlib.decompressobj(_GZIP)
            found += self._expand(data, most_bytes - len(found))
            data = self._zlib.unused_data or self._zlib.unconsumed_tail
        return bytes(found)

    def end(self) -> None:
        """Raise CodingError if the body ends too early."""
        if self._header and not self._zlib.eof:
            raise CodingError(f"the body in {self._coding} is incomplete")

    def _expand(self, data: bytes, most_bytes: int) -> bytes:
        before, may_be_raw = self._header, not self._is_gzip and len(self._header) < _ZLIB_HEADER_BYTES
        self._header = (before + data)[:_ZLIB_HEADER_BYTES]
        try:
            return self._zlib.decompress(data, most_bytes)
        except zlib.error:
            if not may_be_raw:
                raise CodingError(f"the body is not valid {self._coding}") from None
        self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)  # as some servers understand `deflate`
        return self._expand(before + data, most_bytes)


class Unknown(Identity):
    """A body in a coding that no request of ours accepts."""

    def __init__(self, coding: str) -> None:
        self._coding = coding

    def decode(self, data: bytes, most_bytes: int) -> bytes:
        """Raise CodingError, unless there is no body at all."""
        raise CodingError(f"the body is in the content coding {self._coding}, which the request did not accept")


def decoder(content_encoding: str) -> Identity:
    """Return the decoder for the value of a Content-Encoding header."""
    coding = content_encoding.strip().lower()
    if coding in ("", "identity"):
        return Identity()
    return Compressed(coding) if coding in ("gzip", "x-gzip", "deflate") else Unknown(coding)
