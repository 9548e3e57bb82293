"""The received part of one response: what it says, and how much of it may still come."""

import re
from collections.abc import Sequence

from toombos_cli.base.text import one_line
from toombos_cli.probes.connection import ProbeError
from toombos_cli.probes.content_coding import CodingError, decoder
from toombos_cli.probes.result import Cause, Reason
from toombos_cli.probes.tls import on_plain_url

_MAX_HEAD_BYTES = 65536
_FRAMING_RATIO = 16
"""A chunk of one byte takes six; a chunk's extension may take more."""
_HTTP_1 = b"HTTP/1."
_SETTINGS = re.compile(rb"\0..\x04[\0\x01]\0{4}", re.DOTALL)
_SWITCHING = re.compile(rb"HTTP/1\.\d 101\b")
_FIRST_BYTES = 16


class Received:
    """The received part of a response; `complete` once nothing more is needed."""

    def __init__(self, *, max_body_bytes: int) -> None:
        self.status: int | None = None
        self.headers: tuple[tuple[str, str], ...] = ()
        self.raw_headers: Sequence[tuple[bytes, bytes]] = ()
        self.http_version: str | None = None
        self.body = bytearray()
        self.unreadable = ""
        """Why the content coding of the body could not be removed; `body` then has what came before."""
        self.truncated = False
        self.complete = False
        self.hung_up = False
        self.received_bytes = 0
        self._first_bytes = b""
        self._encoded_bytes = 0
        self.http2 = False
        """Whether it is to be HTTP/2."""
        self._max_body_bytes = max_body_bytes

    def add(self, data: bytes) -> None:
        """Count bytes from the network, before they are parsed; b"" is the end. Raise ProbeError if it is not HTTP."""
        self.hung_up = not data
        self.received_bytes += len(data)
        if data and len(self._first_bytes) < _FIRST_BYTES:
            self._first_bytes = (self._first_bytes + data)[:_FIRST_BYTES]
            self._check_protocol(self._first_bytes)

    def wanted_bytes(self, most_bytes: int) -> int:
        """Return how many bytes may be read next.

        Raise ProbeError if heads, trailers or the framing of the body have taken more than any server needs.
        """
        if self.status is None:
            most_bytes = min(most_bytes, _MAX_HEAD_BYTES + 1 - self.received_bytes)
            if most_bytes <= 0:
                raise not_http(f"its header is longer than {_MAX_HEAD_BYTES} bytes")
        if self.received_bytes > 2 * _MAX_HEAD_BYTES + _FRAMING_RATIO * self._encoded_bytes:
            raise not_http("its trailer or the framing of its chunks has no end")
        return most_bytes

    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]], http_version: bytes) -> None:
        """Take the head of the response."""
        self.status = status
        self.raw_headers = headers
        self.headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
        self.http_version = http_version.removeprefix(b"HTTP/").decode("latin-1")
        self._decoder = decoder(",".join(value for name, value in self.headers if name == "content-encoding"))

    def extend(self, data: bytes) -> None:
        """Take a part of the body, still in its content coding."""
        self._encoded_bytes += len(data)
        room = self._max_body_bytes - len(self.body)
        try:
            self.body += self._decoder.decode(data, room + 1)
        except CodingError as error:
            self.unreadable = str(error)
        if len(self.body) > self._max_body_bytes:
            del self.body[self._max_body_bytes :]
            self.truncated = True
        elif self._encoded_bytes > self._max_body_bytes + 2 * _MAX_HEAD_BYTES:
            self.unreadable = "the body takes more bytes in its content coding than without it"
        self.complete = self.truncated or bool(self.unreadable)

    def end(self) -> None:
        """Take the end of the body."""
        if self.complete:
            return
        self.complete = True
        try:
            self._decoder.end()
        except CodingError as error:
            self.unreadable = str(error)

    def header(self, name: str) -> str | None:
        """Return the first header with that lower-case name, or None."""
        return next((value for key, value in self.headers if key == name), None)

    def _check_protocol(self, first: bytes) -> None:
        if self.http2:
            if first.startswith(_HTTP_1):
                raise not_http("the server speaks HTTP/1, and `http2 = true` asks for HTTP/2", version="HTTP/2")
            return
        if first[: len(_HTTP_1)] == _HTTP_1[: len(first)]:
            if _SWITCHING.match(first):  # an answer to a request for another protocol, which no probe makes
                self.status, self.complete = 101, True
                raise ProbeError(Reason.STATUS, "HTTP 101")
            return
        if first[:1] in (b"\x15", b"\x16"):  # a TLS record: alert or handshake (RFC 8446, 5.1)
            raise on_plain_url()
        if is_http2(first):
            raise not_http("the server speaks HTTP/2; `http2 = true` asks for it", cause=Cause.HTTP2)
        raise not_http("it begins with " + one_line(repr(first)[1:]))


def is_http2(first: bytes) -> bool:
    """Report whether a server's first bytes are the first frame of HTTP/2 (RFC 9113, 3.4)."""
    return _SETTINGS.match(first) is not None


def not_http(why: str, *, version: str = "HTTP", cause: Cause = Cause.NOT_HTTP) -> ProbeError:
    """Return the error for bytes that are not an HTTP response."""
    return ProbeError(Reason.BODY, one_line(f"the response is not valid {version}: {why}"), cause=cause)
