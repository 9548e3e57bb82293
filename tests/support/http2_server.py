"""Servers of HTTP/2 that behave well or badly, as a test requires."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

from tests.support.servers import Handler


@dataclass
class Http2Request:
    """One request, and the connection that it came on; `number` counts from 1 on each connection."""

    connection: socket.socket
    session: H2Connection
    stream: int
    number: int
    headers: dict[bytes, bytes]
    body: bytearray = field(default_factory=bytearray)

    def answer(self, body: bytes = b"ok", *, status: int = 200, **headers: str) -> None:
        """Send a response, as fast as the client takes it, if that is less than 64 KiB."""
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        self.session.send_headers(self.stream, [(":status", str(status)), *named])
        for at in range(0, len(body), 16_000):
            self.session.send_data(self.stream, body[at : at + 16_000])
        self.session.end_stream(self.stream)

    def send(self, frames: bytes) -> None:
        """Send bytes as they are, after what the session has to send."""
        self.connection.sendall(self.session.data_to_send() + frames)

    def go_away(self, *, last: int, error: int = 0) -> None:
        """Send GOAWAY without ending the session."""
        self.send(b"\0\0\x08\x07\0\0\0\0\0" + last.to_bytes(4, "big") + error.to_bytes(4, "big"))


def http2(respond: Callable[[Http2Request], None]) -> Handler:
    """Call `respond` for each whole request; an OSError that it raises ends the connection."""

    def handle(connection: socket.socket) -> None:
        session = H2Connection(H2Configuration(client_side=False))
        session.initiate_connection()
        connection.sendall(session.data_to_send())
        requests: dict[int, Http2Request] = {}
        while data := connection.recv(65536):
            for event in session.receive_data(data):
                if isinstance(event, RequestReceived):
                    headers = {bytes(name): bytes(value) for name, value in event.headers}
                    found = Http2Request(connection, session, event.stream_id, len(requests) + 1, headers)
                    requests[event.stream_id] = found
                elif isinstance(event, DataReceived):
                    requests[event.stream_id].body += event.data
                    session.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded):
                    respond(requests[event.stream_id])
            connection.sendall(session.data_to_send())

    return handle
