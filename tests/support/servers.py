"""Real TCP servers that behave well or badly, as a test requires."""

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

Handler = Callable[[socket.socket], None]


@contextlib.contextmanager
def serve(handler: Handler, *, host: str = "127.0.0.1", port: int = 0, backlog: int = 64) -> Iterator[int]:
    """Yield the port of a server that runs `handler` in a thread for each connection until the block ends."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with _serving(family, (host, port), handler, backlog=backlog) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def _serving(
    family: int, address: tuple[str, int] | str, handler: Handler, *, backlog: int = 64
) -> Iterator[socket.socket]:
    open_sockets: set[socket.socket] = set()
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(backlog)

        def work(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                handler(connection)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    open_sockets.add(connection)
                    threading.Thread(target=work, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listener
        finally:
            for connection in list(open_sockets):  # wakes waiting handlers
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def read_request(connection: socket.socket) -> bytes:
    """Return the head of one request, with any part of its body that arrived with it."""
    data = b""
    while b"\r\n\r\n" not in data and (part := connection.recv(65536)):
        data += part
    return data


def answer(body: bytes = b"", *, status: str = "200 OK", headers: str = "", after_s: float = 0) -> Handler:
    """Send the same response to every request."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        time.sleep(after_s)  # simulates a slow server: nothing is waited for
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        connection.sendall(head.encode() + body)

    return handle


def json_answer(body: str, *, status: str = "200 OK", after_s: float = 0) -> Handler:
    """Send this JSON in response to every request."""
    return answer(body.encode(), status=status, headers="Content-Type: application/json\r\n", after_s=after_s)


def hang(connection: socket.socket) -> None:
    """Accept the request and never respond."""
    while connection.recv(65536):
        pass


def raw(data: bytes) -> Handler:
    """Send these bytes unchanged and close the connection."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(data)

    return handle


def reset(connection: socket.socket) -> None:
    """End the connection with a TCP reset."""
    read_request(connection)
    reset_at_once(connection)


def reset_at_once(connection: socket.socket) -> None:
    """End the connection with a TCP reset, however much of it was read."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def drip(head: bytes) -> Handler:
    """Send `head`, then a byte every 20 ms while the client reads."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(head)
        while True:
            connection.sendall(b"x")
            time.sleep(0.02)

    return handle


def endless(connection: socket.socket) -> None:
    """Send a body of 1 GB."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
    block = b"x" * 1_048_576
    for _ in range(1024):
        connection.sendall(block)


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """Yield the port of a listener with a full backlog: new connections get no response."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextlib.contextmanager
def serve_unix(handler: Handler, path: Path) -> Iterator[None]:
    """Serve on a Unix socket of any path length until the block ends; the socket file stays."""
    directory = os.open(path.parent, os.O_PATH)
    with _serving(socket.AF_UNIX, f"/proc/self/fd/{directory}/{path.name}", handler):
        os.close(directory)
        yield


@contextlib.contextmanager
def serve_tls(handler: Handler, directory: Path, context: "ssl.SSLContext | None" = None) -> Iterator[int]:
    """Yield the port of a TLS server, by default with a certificate that no known authority has signed."""
    import ssl

    from tests.support.certificates import Authority

    if context is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(Authority(directory).issue())

    def handle(connection: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as secured:
            handler(secured)

    with serve(handle) as port:
        yield port
