"""An HTTP/1.1 request as bytes, and the parsing of its response as it arrives (by llhttp, through httptools)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser

from toombos_cli import __version__
from toombos_cli.base.addresses import is_http_token, request_target
from toombos_cli.base.text import one_line

_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110, 5.5
_MAX_HEAD_BYTES = 65536
_FRAMING_RATIO = 16
"""A chunk of one byte takes six; a chunk's extension may take more."""


@dataclass(frozen=True, slots=True)
class RequestTarget:
    """The parts of a URL that a request needs; `authority` is the Host header."""

    scheme: str
    host: str
    port: int
    authority: str
    path: str

    @classmethod
    def of(cls, url: str) -> "RequestTarget":
        """Return the parsed URL. Raise ValueError if it is not an http or https URL."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http or https URL: {one_line(url)}")
        authority = parts.netloc.rpartition("@")[2]
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(parts.scheme, parts.hostname, port, authority, request_target(parts))


def request_bytes(target: RequestTarget, method: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the whole request; `headers` replace the defaults. Raise ValueError for a header that injects another."""
    own = {"host": target.authority, "user-agent": f"toombos/{__version__}", "accept": "*/*", "connection": "close"}
    if body or method in ("POST", "PUT", "PATCH"):
        own["content-length"] = str(len(body))
    lines = [f"{method} {target.path} HTTP/1.1"]
    for name, value in (own | {name.lower(): value for name, value in headers.items()}).items():
        if not is_http_token(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"the header {one_line(name)!r} cannot be sent")
        lines.append(f"{name}: {value.strip()}")
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


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
