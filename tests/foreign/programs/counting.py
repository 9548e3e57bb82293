"""Applications that count the requests for /n, and report the number at any other path."""

import itertools
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

numbers = itertools.count()
count = 0


def response_to(path: str) -> bytes:
    """Return the body of the response."""
    global count
    if path == "/n":
        count = next(numbers) + 1  # atomic: a server may have threads
    return b"%d" % count


def wsgi(environ, start_response):
    """Respond as a WSGI application."""
    body = response_to(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    """Respond as an ASGI application, in chunks."""
    if scope["type"] == "http":
        body = response_to(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body"})


class Handler(BaseHTTPRequestHandler):
    """Respond as a server of Python's library, in HTTP/1.0 or with early hints."""

    early_hints = False
    silent = False

    def do_GET(self) -> None:
        body = response_to(self.path)
        if self.early_hints and self.path == "/n":
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.close_connection or self.silent

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    """A server with room for many new connections."""

    request_queue_size = 500


if __name__ == "__main__":
    kind, port = sys.argv[1:]
    Handler.protocol_version = "HTTP/1.0" if kind == "http/1.0" else "HTTP/1.1"
    Handler.early_hints, Handler.silent = kind == "early_hints", kind == "silent_close"
    Server(("127.0.0.1", int(port)), Handler).serve_forever()
