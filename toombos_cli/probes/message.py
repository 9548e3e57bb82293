"""The parsing of an HTTP/1.1 response as it arrives (by llhttp, through httptools)."""

from httptools import HttpParserError, HttpResponseParser

_MAX_HEAD_BYTES = 65536
_FRAMING_RATIO = 16
"""A chunk of one byte takes six; a chunk's extension may take more."""


class NotHttpError(Exception):
    """The received bytes are not an HTTP response."""


class PartialResponse:
    """The received part of a response; `complete` once nothing more is needed."""

    def __init__(self, method: str, max_body_bytes: int) -> None:
        self.status: int | None = None
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()
        self.truncated = False
        self.complete = False
        self.received_bytes = 0
        self.first_bytes = b""
        self._bodyless = method == "HEAD"
        self._max_body_bytes = max_body_bytes
        self._parser = HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Parse received bytes; b"" is the end of the stream. Raise NotHttpError."""
        if not data:
            self.complete = self.complete or self._ends_with_the_stream()
            return
        self.first_bytes = self.first_bytes or data[:2]
        self.received_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            if not self.complete:  # ignore anything after the response
                raise NotHttpError(str(error)) from None
        if self.status is None and self.received_bytes > _MAX_HEAD_BYTES:
            raise NotHttpError(f"its header is longer than {_MAX_HEAD_BYTES} bytes")
        if not self.complete and self.received_bytes > 2 * _MAX_HEAD_BYTES + _FRAMING_RATIO * len(self.body):
            raise NotHttpError("its trailer or the framing of its chunks has no end")

    def header(self, name: str) -> str | None:
        """Return the first header with that lower-case name, or None."""
        return next((value for key, value in self.headers if key == name), None)

    def _ends_with_the_stream(self) -> bool:
        """Return whether the end of the connection ends the body (RFC 9112, 6.3, rule 8)."""
        return self.status is not None and not (self.header("content-length") or self.header("transfer-encoding"))

    # Callbacks of the parser.

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.complete:  # an unrequested second response
            return
        self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        status = self._parser.get_status_code()
        if status < 200:  # an interim response: the final one follows
            self.headers.clear()
            return
        self.status = status
        self.complete = self._bodyless

    def on_body(self, data: bytes) -> None:
        if self.complete:
            return
        room = self._max_body_bytes - len(self.body)
        self.body += data[:room]
        if len(data) > room:
            self.truncated = self.complete = True

    def on_message_complete(self) -> None:
        self.complete = self.complete or self.status is not None
