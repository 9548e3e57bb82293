"""The connections of an asyncio server in a test: all are closed with it.

One that is left open is reported by Python in some later test.
"""

import asyncio
from collections.abc import Awaitable, Callable

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


class Connections:
    """Serves each connection in a task; it is the callback of `asyncio.start_server`."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._open: dict[asyncio.Future[object], asyncio.StreamWriter] = {}

    def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin to serve a connection."""
        self._open[asyncio.ensure_future(self._serve(reader, writer))] = writer

    async def close(self) -> None:
        """End all tasks and abort all connections."""
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.sleep(0)  # lets the transports close
