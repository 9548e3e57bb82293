"""One server that sends a shape of health response on each of its ports."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial

from tests.support.connections import Connections
from tests.unit.probes.health_shapes import Shape

_UNFRAMED = (204, 304)


@contextlib.contextmanager
def serve_shapes(shapes: Sequence[Shape]) -> Iterator[list[int]]:
    """Yield one port for each shape; a shape is sent at its own path, and 404 at every other one."""
    started: Future[tuple[list[int], Callable[[], object]]] = Future()

    async def serve() -> None:
        connections = [Connections(_handler(shape)) for shape in shapes]
        servers = [await asyncio.start_server(one, "127.0.0.1", 0, backlog=100) for one in connections]
        ended = asyncio.Event()
        end = partial(asyncio.get_running_loop().call_soon_threadsafe, ended.set)
        started.set_result(([server.sockets[0].getsockname()[1] for server in servers], end))
        await ended.wait()
        for server, one in zip(servers, connections, strict=True):
            server.close()
            await one.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    ports, end = started.result(30)
    try:
        yield ports
    finally:
        end()
        thread.join(10)


def _handler(shape: Shape):  # type: ignore[no-untyped-def]  # the type of an asyncio callback
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(None, 2)[1].decode()
            writer.write(_response(shape) if path == shape.path else b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        writer.close()

    return handle


def _response(shape: Shape) -> bytes:
    lines = [f"HTTP/1.1 {shape.status} Status", "Connection: close"]
    if shape.content_type:
        lines.append(f"Content-Type: {shape.content_type}")
    if shape.status not in _UNFRAMED:
        lines.append(f"Content-Length: {len(shape.body)}")
    lines += [f"{name}: {value}" for name, value in shape.headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (b"" if shape.status in _UNFRAMED else shape.body)
