"""A proxy in front of a real service that changes one thing in its responses."""

import contextlib
import re
import socket
from collections.abc import Callable, Iterator

from tests.support.servers import serve

Tamper = Callable[[bytes, bytes], bytes]
"""(request, answer) -> the answer to give instead."""


@contextlib.contextmanager
def tampered(
    port: int, tamper: Tamper, *, rewrite: Callable[[bytes], bytes] = lambda request: request
) -> Iterator[int]:
    """Yield the port of a proxy to `port`; `rewrite` changes requests in transit."""

    def handle(connection: socket.socket) -> None:
        request = rewrite(_whole_request(connection))
        with socket.create_connection(("127.0.0.1", port), timeout=10) as upstream:
            upstream.sendall(request)
            answer = b"".join(iter(lambda: upstream.recv(65536), b""))
        connection.sendall(tamper(request, answer))

    with serve(handle) as own:
        yield own


def http(status: str, body: bytes, content_type: str = "application/json") -> bytes:
    """Return a complete response."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def on(line: bytes, change: Callable[[bytes], bytes]) -> Tamper:
    """Change the responses to requests that start with `line`, such as b"POST /api/v1/email/send"."""
    return lambda request, answer: change(answer) if request.startswith(line) else answer


def with_body(answer: bytes, body: bytes) -> bytes:
    """Return the response with another body and a matching length."""
    head, _, _ = answer.partition(b"\r\n\r\n")
    return re.sub(rb"(?i)content-length: \d+", b"content-length: %d" % len(body), head) + b"\r\n\r\n" + body


def body_of(answer: bytes) -> bytes:
    """Return the body of a complete response."""
    return answer.partition(b"\r\n\r\n")[2]


def _whole_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536) or b"\r\n\r\n"
    length = re.search(rb"(?i)content-length: (\d+)", data)
    wanted = data.index(b"\r\n\r\n") + 4 + (int(length[1]) if length else 0)
    while len(data) < wanted and (part := connection.recv(65536)):
        data += part
    return data
