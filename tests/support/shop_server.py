"""A small shop in a thread: logins with tokens and cookies, orders, redirects and streams; it remembers what it got."""

import asyncio
import contextlib
import json
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.connections import Connections
from tests.support.hosts import Host

_REDIRECTS = {
    "/old": "/new?from=old",
    "/loop": "/loop",
    "/away": "http://192.0.2.1/",
    "/named": "http://shop.test/new",
}


@dataclass
class Shop:
    """What the shop has seen: requests by method and path, and the JSON bodies of logins and orders."""

    port: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    logins: list[dict[str, Any]] = field(default_factory=list)
    orders: list[dict[str, Any]] = field(default_factory=list)
    posted: list[bytes] = field(default_factory=list)
    peers: set[object] = field(default_factory=set)
    tokens: dict[str, str] = field(default_factory=dict)
    last_headers: list[tuple[str, str]] = field(default_factory=list)
    closes: bool = False

    def respond(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[str, Any, str]:
        """Return status, JSON and more headers."""
        if path == "/login":
            self.logins.append(json.loads(body))
            token = secrets.token_hex(8)
            self.tokens[token] = self.logins[-1]["name"]
            return "200 OK", {"token": token, "name": self.tokens[token]}, f"Set-Cookie: sid={token}; Path=/\r\n"
        if path == "/orders":
            token = headers.get("authorization", "").removeprefix("Bearer ")
            if token not in self.tokens or headers.get("cookie") != f"sid={token}":
                return "401 Unauthorized", {}, ""
            self.orders.append({**json.loads(body), "user": self.tokens[token]})
            return "201 Created", {"id": len(self.orders), "user": self.tokens[token]}, ""
        if path.startswith("/orders/"):
            return "200 OK", {"id": int(path.rpartition("/")[2])}, ""
        if path in _REDIRECTS:
            to = _REDIRECTS[path]
            return "302 Found", {}, f"Location: {to}\r\n"
        if path == "/post":
            self.posted.append(body)
            return "307 Temporary Redirect", {}, "Location: post2\r\n"
        if path == "/post2":
            self.posted.append(body)
        if path.startswith("/gone/"):
            age = path.rpartition("/")[2]
            return "200 OK", {}, f"Set-Cookie: a=1; Max-Age={age}\r\n"
        if path == "/has" and "cookie" in headers:
            self.seen[f"GET /has with {headers['cookie']}"] += 1
        if path == "/missing":
            return "404 Not Found", {"detail": "nothing here"}, ""
        if path == "/cookie":
            count = int(headers.get("cookie", "n=0").removeprefix("n="))
            return "200 OK", {"n": count}, f"Set-Cookie: n={count + 1}\r\n"
        return "200 OK", {"path": path}, ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.peers.add(writer.get_extra_info("peername"))
        try:
            await self.talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort() if not self.closes else writer.close()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Respond to the requests of one connection."""
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("utf-8", "replace")
            line, *fields = head.rstrip("\r\n").split("\r\n")
            method, target, _ = line.split(" ")
            self.last_headers = [(k.lower(), v) for k, _, v in (one.partition(": ") for one in fields)]
            headers = dict(self.last_headers)
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            path = target.partition("?")[0]
            self.seen[f"{method} {target}"] += 1
            if path.startswith("/stream"):
                await self.stream(writer, int(path.rpartition("/")[2] or "100000"))
                return
            status, found, more = self.respond(method, path, headers, body)
            content = json.dumps(found).encode()
            more += "Connection: close\r\n" if self.closes else ""
            start = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{more}"
            writer.write(f"{start}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            if self.closes:
                return

    async def stream(self, writer: asyncio.StreamWriter, events: int) -> None:
        """Send events, one every 5 ms, then the end."""
        start = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\n"
        start += "Transfer-Encoding: chunked\r\n\r\n"
        writer.write(start.encode() + b"3\r\n: \n\r\n")  # a comment is no event
        for number in range(events):
            event = b"data: %d\n\n" % number
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
            await asyncio.sleep(0.005)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)  # the end is read before the connection is aborted


@contextlib.contextmanager
def shop(*, closes: bool = False, host: Host | None = None) -> Iterator[Shop]:
    """Yield a running shop, on this host if one is given; with `closes` it closes a connection after its response."""
    found = Shop(closes=closes)
    started = threading.Event()
    stopping: list[Callable[[], object]] = []

    def serve() -> None:
        if host is not None:
            host.enter()
        asyncio.run(run())

    async def run() -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        stopping.append(lambda: loop.call_soon_threadsafe(stopped.set))
        connections = Connections(found.serve)
        server = await asyncio.start_server(connections, host.address if host else "127.0.0.1", 0)
        found.port = server.sockets[0].getsockname()[1]
        started.set()
        await stopped.wait()
        server.close()
        await connections.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield found
    finally:
        stopping[0]()
        thread.join(10)
