"""The transport below httpx: one new connection for each request, all under one deadline.

httpx's own transport limits each read alone, so a server that sends a byte a second would hold it for ever; it expands
compressed bodies without a limit, and hides the address and the errno (docs/decisions/0030). This one uses httpcore's
protocols on sockets of its own, through the interfaces that both libraries document.
"""

import socket
import ssl
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from toombos_cli.probes import tls
from toombos_cli.probes.connection import Connected, Deadline, ProbeError, connect, connect_unix
from toombos_cli.probes.endpoint import DIRECT, Endpoint
from toombos_cli.probes.lean_httpx import httpcore, httpx
from toombos_cli.probes.received import Received, not_http
from toombos_cli.probes.result import Reason


class ProbeTransport(httpx.BaseTransport):
    """Sends the first request and those for the same origin by an endpoint, all others directly."""

    place: httpx.URL
    """The URL of the first request, with the address of the server."""
    named: httpx.URL
    """The same URL as the server knows it: with the host and port of the Host header."""

    def __init__(self, endpoint: Endpoint, deadline: Deadline, *, max_body_bytes: int) -> None:
        self.urls: list[httpx.URL] = []
        """What was requested until now."""
        self.network = Network(endpoint, deadline, Received(max_body_bytes=max_body_bytes))
        """The network and what was received in the last exchange."""
        self._endpoint = endpoint
        self._max_body_bytes = max_body_bytes

    @property
    def received(self) -> Received:
        """The received part of the last response."""
        return self.network.received

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response without its body, which `received` has as far as it is wanted.

        Raise ProbeError, ValueError for what cannot be sent, ConnectionError if the server hung up, TimeoutError and
        other OSErrors.
        """
        url = self.place_of(request.url)
        self.urls.append(url)
        endpoint = self._endpoint if _origin(url) == _origin(self.urls[0]) else DIRECT
        received = Received(max_body_bytes=self._max_body_bytes)
        received.http2 = endpoint.http2 and url.scheme == "http"
        self.network = Network(endpoint, self.network.deadline, received)
        try:
            self._exchange(request, url, endpoint, self.network)
        except _protocol_errors(endpoint) as error:
            raise _failure(error, received) from None
        finally:
            self.network.close()  # httpcore leaves a connection open whose TLS handshake fails
        return httpx.Response(received.status or 0, headers=received.raw_headers, stream=httpx.ByteStream(b""))

    def place_of(self, url: httpx.URL) -> httpx.URL:
        """Return the URL with the address of the server if it is by the name of the first request's server."""
        if _origin(url) != _origin(self.named):
            return url
        return url.copy_with(host=self.place.host, port=self.place.port)

    def _exchange(self, request: httpx.Request, url: httpx.URL, endpoint: Endpoint, network: "Network") -> None:
        received, origin = network.received, _origin(url)
        with httpcore.HTTPConnection(
            origin,
            ssl_context=tls.new_context() if url.scheme == "https" else None,
            http1=not (endpoint.http2 and url.scheme == "http"),
            http2=endpoint.http2,
            uds=str(endpoint.unix) if endpoint.unix else None,
            network_backend=network,
        ) as connection:
            response = connection.handle_request(
                httpcore.Request(
                    request.method,
                    httpcore.URL(scheme=origin.scheme, host=origin.host, port=origin.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
            received.begin(response.status, response.headers, response.extensions["http_version"])
            for part in response.iter_stream():
                received.extend(part)
                if received.complete:
                    return
            received.end()


def _origin(url: httpx.URL) -> httpcore.Origin:
    return httpcore.Origin(url.raw_scheme, url.raw_host, url.port or (443 if url.scheme == "https" else 80))


class Network(httpcore.NetworkBackend):
    """Connects within the deadline, and remembers what it reached."""

    def __init__(self, endpoint: Endpoint, deadline: Deadline, received: Received) -> None:
        self.endpoint = endpoint
        self.deadline = deadline
        self.received = received
        self.connected: Connected | None = None
        self._sockets: list[socket.socket] = []

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Return a connection to one of the host's addresses. Raise ProbeError or OperationError."""
        return self._connect(partial(connect, host, port, self.deadline))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        """Return a connection to the endpoint's Unix socket. Raise ProbeError or OperationError."""
        return self._connect(partial(connect_unix, Path(path), self.deadline))

    def stream(self, sock: socket.socket, connected: Connected) -> "Stream":
        """Return the stream of a socket, which `close` closes."""
        self._sockets.append(sock)
        return Stream(sock, connected, self)

    def close(self) -> None:
        """Close all connections."""
        for sock in self._sockets:
            sock.close()

    def is_http2_alone(self, host: str) -> bool:
        """Return whether a server that refused HTTP/1.1 accepts HTTP/2."""
        return not self.endpoint.http2 and tls.speaks_http2(self.reconnect, host, self.deadline)

    def _connect(self, connect_again: Callable[[], Connected]) -> "Stream":
        self.reconnect = connect_again
        """Returns a new connection to the same place."""
        self.connected = connected = connect_again()
        return self.stream(connected.sock, connected)


class Stream(httpcore.NetworkStream):
    """A connection whose every step ends at the deadline. The errors of the socket pass through httpcore unchanged."""

    def __init__(self, sock: socket.socket, connected: Connected, network: Network) -> None:
        self._sock = sock
        self._connected = connected
        self._network = network
        self._may_write = True

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return the next bytes, b"" at the end. Raise ProbeError, TimeoutError and other OSErrors."""
        most_bytes = self._network.received.wanted_bytes(max_bytes)
        self._sock.settimeout(self._network.deadline.remaining_s())
        try:
            data = self._sock.recv(most_bytes)
        except ssl.SSLError as error:
            raise tls.failed(error, "TLS failed") from None
        self._network.received.add(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send the bytes, unless the server has hung up: it may have responded before, which a read shows."""
        unsent = memoryview(buffer)
        while unsent and self._may_write:
            self._sock.settimeout(self._network.deadline.remaining_s())
            try:
                unsent = unsent[self._sock.send(unsent) :]
            except (ConnectionError, ssl.SSLError):
                self._may_write = False

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Return this connection after a TLS handshake. Raise ProbeError, TimeoutError and other OSErrors."""
        network, host = self._network, server_hostname or ""
        self._sock.settimeout(network.deadline.remaining_s())
        tls.trust(ssl_context, network.endpoint, is_local=tls.is_near(self._connected.address))
        wrapped = tls.wrap(self._sock, ssl_context, host, is_http2_alone=lambda: network.is_http2_alone(host))
        network.received.http2 = wrapped.selected_alpn_protocol() == "h2"
        return network.stream(wrapped, self._connected)

    def get_extra_info(self, info: str) -> Any:
        """Return the TLS connection, by which httpcore knows the version of HTTP that was agreed on; else None."""
        return self._sock if info == "ssl_object" and isinstance(self._sock, ssl.SSLSocket) else None


def _protocol_errors(endpoint: Endpoint) -> tuple[type[Exception], ...]:
    """Return what httpcore raises, or lets through from h2, if a request or response breaks the rules of HTTP."""
    if not endpoint.http2:
        return (httpcore.ProtocolError,)
    from h2.exceptions import H2Error

    return (httpcore.ProtocolError, httpcore.ConnectionNotAvailable, H2Error)


def _failure(error: Exception, received: Received) -> Exception:
    """Return why a request could not be sent or its response not be parsed."""
    if not received.received_bytes and isinstance(error, httpcore.LocalProtocolError):
        return ValueError(f"the request cannot be sent: {error}")
    if received.hung_up:
        return ConnectionAbortedError()
    event = error.args[0] if error.args else None
    code = getattr(event, "error_code", None)
    if isinstance(error, httpcore.ConnectionNotAvailable) or (code is not None and not isinstance(event, Exception)):
        said = f": {getattr(code, 'name', code)}" if code is not None else ""
        return ProbeError(Reason.RESET, f"the server ended the HTTP/2 stream without a whole response{said}")
    return not_http(str(error))
