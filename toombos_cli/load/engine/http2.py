"""Connections that speak HTTP/2 through the library h2: each request is a stream, and there is one at a time."""

import asyncio
import struct
from collections.abc import Iterator
from os import write
from time import perf_counter_ns as clock
from typing import NamedTuple

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, InformationalResponseReceived, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from toombos_cli.load.engine.connection import Connection
from toombos_cli.load.engine.failures import classify
from toombos_cli.load.engine.recorder import RequestFailure
from toombos_cli.load.engine.response import MalformedResponseError
from toombos_cli.load.engine.scripted import ScriptedConnection

_HEAD_BYTES = 9  # of a frame (RFC 9113, 4.1)
_GOAWAY = 7
_WINDOW_BYTES = 1 << 24
_OF_CONNECTIONS = frozenset(  # headers of HTTP/1.1 that HTTP/2 does not have (RFC 9113, 8.2.2)
    {b"host", b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te"}
)


class GoingAway(NamedTuple):
    """What the server says before it closes the connection: the last stream that it processes, and an error."""

    last_stream: int
    error: int


class Session:
    """The state of one connection: `stream` is that of the latest request."""

    def __init__(self, scheme: bytes) -> None:
        self._h2 = H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        own = {SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW_BYTES}
        self._h2.local_settings = Settings(client=True, initial_values=own)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_WINDOW_BYTES)
        self._scheme = scheme
        self._received = bytearray()
        self._is_begun = False
        self._unsent = memoryview(b"")
        self.stream = 0
        self.is_over = False
        """Whether the server takes no more requests."""

    @property
    def has_sent_all(self) -> bool:
        """Report whether the whole body of the request was sent."""
        return not self._unsent

    def to_send(self) -> bytes:
        """Return the bytes to send now: all of the protocol, and of a body as much as the server takes."""
        while self._unsent:
            room = min(self._h2.local_flow_control_window(self.stream), self._h2.max_outbound_frame_size)
            if room <= 0:
                break
            part, self._unsent = self._unsent[:room], self._unsent[room:]
            self._h2.send_data(self.stream, bytes(part), end_stream=not self._unsent)
        return self._h2.data_to_send()

    def request(self, request: bytes) -> bytes:
        """Return the bytes that send a request, which is given in HTTP/1.1. Raise H2Error if the server allows none."""
        end = request.index(b"\r\n\r\n")
        body = memoryview(request)[end + 4 :]
        self.stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(self.stream, _headers(request[:end], self._scheme), end_stream=not body)
        self._unsent = body
        return self.to_send()

    def receive(self, data: bytes) -> Iterator[Event | GoingAway]:
        """Yield the events of received bytes. Raise MalformedResponseError.

        h2 takes nothing after GOAWAY, but a server may send it before its last response; so h2 does not see it.
        """
        if not self._is_begun and data.startswith(b"HTTP/1."):
            raise MalformedResponseError("the server speaks HTTP/1, and `http2 = true` asks for HTTP/2")
        self._is_begun = True
        self._received += data
        while len(self._received) >= _HEAD_BYTES:
            size = _HEAD_BYTES + int.from_bytes(self._received[:3], "big")
            if size > _HEAD_BYTES + self._h2.max_inbound_frame_size:
                raise MalformedResponseError(f"the response is not valid HTTP/2: a frame of {size} bytes")
            if len(self._received) < size:
                return
            frame = bytes(self._received[:size])
            del self._received[:size]
            if frame[3] == _GOAWAY and size >= _HEAD_BYTES + 8:
                last, error = struct.unpack_from(">II", frame, _HEAD_BYTES)
                yield GoingAway(last & 0x7FFFFFFF, error)
                continue
            try:
                yield from self._h2.receive_data(frame)
            except H2Error as error:
                raise MalformedResponseError(f"the response is not valid HTTP/2: {error}") from None

    def acknowledge(self, event: DataReceived) -> None:
        """Let the server send as many bytes again as it has just sent."""
        if event.flow_controlled_length:
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    def end_upload(self) -> None:
        """Send nothing more of the body."""
        self._unsent = memoryview(b"")


def _headers(head: bytes, scheme: bytes) -> list[tuple[bytes, bytes]]:
    """Return the head of a request in HTTP/1.1 as headers of HTTP/2."""
    line, *fields = head.split(b"\r\n")
    method, path, _ = line.split(b" ", 2)
    pairs = [(name.lower(), value) for name, _, value in (field.partition(b": ") for field in fields)]
    host = next((value for name, value in pairs if name == b"host"), b"")
    first = [(b":method", method), (b":scheme", scheme), (b":authority", host), (b":path", path)]
    return first + [pair for pair in pairs if pair[0] not in _OF_CONNECTIONS]


class Http2Connection(Connection):
    """A connection in HTTP/2: without TLS at once, else if the server chooses it; in HTTP/1.1 if it does not.

    It has no `__slots__`, so that a scripted connection can inherit from it as well.
    """

    _session: Session | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        secured = transport.get_extra_info("ssl_object")
        if secured is None or secured.selected_alpn_protocol() == "h2":
            self.http_version = "2"
            self._session = Session(b"http" if secured is None else b"https")
            self._put(self._session.to_send())

    def _write(self, request: bytes, size: int) -> None:
        if self._session is None:
            super()._write(request, size)
            return
        try:
            frames = self._session.request(request)
        except H2Error as error:
            self._fail(RequestFailure("refused", "send", ""), f"the server allows no stream: {error}")
            return
        is_first = self.written == self.first_written
        self.written = clock()  # after the work of h2, which takes longer than the write
        if is_first:
            self.first_written = self.written
        super()._write(frames, len(frames))

    def _put(self, frames: bytes) -> None:
        """Write frames that belong to no request; a lost connection shows when it is read."""
        sent = 0
        if frames and not self._pending:
            try:
                sent = write(self._fd, frames)
            except BlockingIOError:
                pass
            except OSError:
                return
        if sent < len(frames) and self.transport is not None:
            self._pending = True
            self.transport.write(frames[sent:])

    def _read(self, data: bytes, now: int) -> None:
        session = self._session
        if session is None:
            super()._read(data, now)
            return
        try:
            for event in session.receive(data):
                if isinstance(event, GoingAway):
                    self._goes_away(session, event)
                else:
                    self._take(session, event, now)
                if self.transport is None:
                    return
        except MalformedResponseError as error:
            failure = classify(error, self._phase)
            if self.tally is None:
                self._end_at_rest(failure, str(error))
            else:
                self._fail(failure, str(error))
            return
        if self._is_complete and self.tally is not None and self._reader is not None:
            usable = self._reader.keep_alive and session.has_sent_all and not session.is_over
            self._count(self.tally, self._reader, now)
            self._settle(usable=usable)
        if self.transport is not None:
            self._put(session.to_send())

    def _take(self, session: Session, event: Event, now: int) -> None:
        """Take an event of the request in flight."""
        if isinstance(event, DataReceived):
            session.acknowledge(event)
        tally = self.tally
        if tally is None or self._is_complete or getattr(event, "stream_id", None) != session.stream:
            return
        if isinstance(event, StreamReset):
            session.end_upload()
            name = _name_of(event.error_code)
            refused = event.error_code == ErrorCodes.REFUSED_STREAM
            failure = RequestFailure("refused" if refused else "reset", self._phase, name)
            self._fail(failure, f"the server reset the stream: {name}")
            return
        if isinstance(event, (InformationalResponseReceived, ResponseReceived)) and not self.first_byte:
            self.first_byte = now
            self._begin_reading(tally)
        reader = self._reader
        if not self.first_byte or reader is None:
            return
        if isinstance(event, ResponseReceived):
            fields = dict(event.headers)
            reader.take_head(int(fields[b":status"]), (one for one in event.headers if not one[0].startswith(b":")))
        elif isinstance(event, DataReceived):
            reader.on_body(event.data)
        elif isinstance(event, StreamEnded):
            reader.take_end()

    def _goes_away(self, session: Session, event: GoingAway) -> None:
        """Handle the end of the connection, which the server announces: what it will still process, it responds to."""
        session.is_over = True
        name = _name_of(event.error)
        is_error = event.error != ErrorCodes.NO_ERROR
        failure = RequestFailure("reset", self._phase, name) if is_error else RequestFailure("eof", "wait", "")
        if self.tally is None:
            self._end_at_rest(failure, f"the server ended the connection: {name}")
        elif self._is_complete:
            return
        elif is_error:
            self._fail(failure, f"the server ended the connection: {name}")
        elif event.last_stream < session.stream:
            self._not_responded(failure, "the server ended the connection without the request", was_read=False)

    @property
    def _phase(self) -> str:
        return "body" if self.first_byte else "wait"

    @property
    def _is_complete(self) -> bool:
        """Whether the response to the request in flight is complete."""
        return bool(self.first_byte) and self._reader is not None and self._reader.complete


def _name_of(code: int) -> str:
    """Return the name of an error of HTTP/2 (RFC 9113, 7)."""
    try:
        return ErrorCodes(code).name
    except ValueError:
        return str(code)


class ScriptedHttp2Connection(ScriptedConnection, Http2Connection):
    """A connection in HTTP/2 whose responses are judged by the script of their request."""
