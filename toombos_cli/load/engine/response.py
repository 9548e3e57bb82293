"""Read HTTP/1.x responses with httptools (llhttp) and find where each one ends (RFC 9112, section 6.3)."""

from collections.abc import Iterable

import httptools

_EXCERPT_BYTES = 2000
_FRAMING_BYTES = 65_536
"""The limit of heads, chunk sizes and trailers before the next byte of a body: the parser keeps an unfinished line."""


class MalformedResponseError(Exception):
    """The bytes are not an HTTP response; the message says why."""


class ResponseReader:
    """A reader for the responses of one connection, one at a time.

    After `feed` or `finish` returned True, `status`, `keep_alive` and `framed_by_head` (the head alone determines
    where the response ends) describe the response. Bodies are discarded, except for the start of an error response
    (4xx, 5xx) in `excerpt`. Interim (1xx) responses are skipped.
    """

    __slots__ = (
        "_bodiless",
        "_delimited",
        "_done",
        "_framing_bytes",
        "_interim",
        "_parser",
        "_started",
        "_surplus",
        "excerpt",
        "framed_by_head",
        "keep_alive",
        "status",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.begin(bodiless=False)

    def begin(self, *, bodiless: bool) -> None:
        """Prepare for the response to a request; `bodiless`: to a HEAD request, so it has no body."""
        self._bodiless = bodiless
        self._started = self._done = self._interim = self._delimited = self._surplus = False
        self.status = self._framing_bytes = 0
        self.excerpt = b""
        self.keep_alive = self.framed_by_head = False

    @property
    def started(self) -> bool:
        """Report whether any byte of the response was seen."""
        return self._started

    def feed(self, data: bytes) -> bool:
        """Take the next bytes and report whether the response is complete. Raise MalformedResponseError.

        Bytes after the end of the response are an error: no other request was sent.
        """
        self._started = True
        self._framing_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.keep_alive = False
        except httptools.HttpParserError as error:
            if not self._done:
                raise MalformedResponseError(str(error)) from None
            self._surplus = True
        if self._surplus:
            raise MalformedResponseError("extra bytes after the end of the response")
        if not self._done and self._framing_bytes > _FRAMING_BYTES:
            raise MalformedResponseError(f"more than {_FRAMING_BYTES} bytes of head or trailers")
        if self._done and self._bodiless:  # llhttp waits for the body that Content-Length announces
            self._parser = httptools.HttpResponseParser(self)
        return self._done

    def take_head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Take the head of a response that HTTP/2 frames; `on_body` takes its parts, and `take_end` its end."""
        self.on_message_begin()
        for name, value in headers:
            self.on_header(name, value)
        self.status = status
        self.keep_alive = self._delimited = True

    def take_end(self) -> None:
        """Take the end of a response that HTTP/2 frames."""
        self._done = True

    @property
    def complete(self) -> bool:
        """Report whether the whole response was seen."""
        return self._done

    def finish(self) -> bool:
        """Report whether the end of the stream completes the response (a body without a length)."""
        return self._done or (self.status != 0 and not self._delimited)

    # Callbacks of httptools, called from feed_data.

    def on_message_begin(self) -> None:
        self._surplus = self._done

    def on_header(self, name: bytes, value: bytes) -> None:
        lowered = name.lower()
        if lowered == b"content-length":
            self._delimited = self.framed_by_head = True
        elif lowered == b"transfer-encoding":
            self._delimited = True

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._interim = True
            return
        self.status = status
        self.keep_alive = self._parser.should_keep_alive()
        if status in (204, 304) or self._bodiless:
            self._delimited = self.framed_by_head = True
        if self._bodiless:
            self._done = True

    def on_body(self, body: bytes) -> None:
        self._framing_bytes = 0
        if self.status >= 400 and len(self.excerpt) < _EXCERPT_BYTES:
            self.excerpt = (self.excerpt + body)[:_EXCERPT_BYTES]

    def on_message_complete(self) -> None:
        if self.status:
            self._done = True
            self.framed_by_head = self.framed_by_head and not self._interim
        else:
            self._delimited = self.framed_by_head = False
