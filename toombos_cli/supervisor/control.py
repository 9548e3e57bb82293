"""The control channel: connections of command lines, each with one request, answered line by line."""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from toombos_cli.project.state import RunDirectory
from toombos_cli.supervisor.core import Supervisor
from toombos_cli.supervisor.protocol import Broken, Busy, Done, Reply, decode_request, encode

_Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_LOOK_FOR_SOCKET_S = 1.0
_LINE_LIMIT_BYTES = 16 * 1024 * 1024  # a plan carries every service's environment


async def serve(supervisor: Supervisor, handed_over: socket.socket | None) -> None:
    """Answers on the control socket, and on the connection that came with the process, until the supervisor leaves.

    Raises OSError when the socket cannot be made.
    """
    open_connections: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            open_connections.add(task)
            task.add_done_callback(open_connections.discard)
        await _answer(supervisor, reader, writer)

    door = asyncio.create_task(_keep_open(supervisor, accept))
    if handed_over is not None:
        streams = await asyncio.open_unix_connection(sock=handed_over, limit=_LINE_LIMIT_BYTES)
        first = asyncio.create_task(accept(*streams))
        open_connections.add(first)
    either: set[asyncio.Future[Any]] = {door, asyncio.ensure_future(supervisor.finished.wait())}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if door.done():
        door.result()  # raises why there can be no socket
    door.cancel()
    if open_connections:
        await asyncio.wait(open_connections, timeout=1.0)


async def _keep_open(supervisor: Supervisor, accept: _Accept) -> None:
    """Listens, and listens again when the socket is gone: a clean-up of old files must not lock us in.

    Returns when another supervisor has the project. Raises OSError when there can be no socket at the very beginning.
    """
    server: asyncio.AbstractServer | None = None
    try:
        while supervisor.holds_project():
            if server is None or not supervisor.run.socket.exists():
                try:
                    listener = _listen(supervisor.run)
                except OSError as error:
                    if server is None and supervisor.is_idle:
                        raise
                    supervisor.note("socket", f"{supervisor.run.socket} cannot be made: {error.strerror}")
                else:
                    if server is not None:
                        server.close()
                    server = await asyncio.start_unix_server(accept, sock=listener, limit=_LINE_LIMIT_BYTES)
                    supervisor.note("socket", None)
            await asyncio.sleep(_LOOK_FOR_SOCKET_S)
    finally:
        if server is not None:
            server.close()


def _listen(run: RunDirectory) -> socket.socket:
    """The bound socket. Only the holder of the supervisor's lock comes here, so an old socket file is stale."""
    run.socket.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(run.socket))
        run.socket.chmod(0o600)
    except OSError:
        listener.close()
        raise
    return listener


async def _answer(supervisor: Supervisor, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    def send(reply: Reply) -> None:
        if not writer.is_closing():
            writer.write(encode(reply))

    try:
        if not _is_own_user(writer):
            return
        line = await reader.readline()
        if line:
            if supervisor.finished.is_set():
                send(Busy())  # it is leaving: the next supervisor will answer
                return
            try:
                request = decode_request(line)
            except msgspec.DecodeError as error:
                message = f"the running supervisor is of another version: {error}"
                send(Broken(message=message, hint="toombos stop && toombos restart"))
                return
            work = asyncio.ensure_future(supervisor.carry_out(request, send))
            await _while_connected(reader, work)
            if not work.cancelled():
                bug = work.exception()
                if bug is not None:  # told, so that the command does not ask for the same again
                    message = f"a bug in the supervisor: {type(bug).__name__}; see {supervisor.run.supervisor_log}"
                    send(Broken(message=message))
                    raise bug
                send(work.result())
            await writer.drain()
    except ConnectionError:
        pass  # it left; what it had begun was undone
    finally:
        supervisor.leave_if_idle()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _while_connected(reader: asyncio.StreamReader, work: "asyncio.Future[Done]") -> None:
    """Waits for the work; cancels it when the other side leaves, as Ctrl-C on `toombos start` does."""
    gone: asyncio.Future[bytes] = asyncio.ensure_future(reader.read(1))
    either: set[asyncio.Future[Any]] = {gone, work}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
    finally:
        gone.cancel()


def _is_own_user(writer: asyncio.StreamWriter) -> bool:
    """Whether the other side runs as this user or as root (SO_PEERCRED; elsewhere the directory's mode decides)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", peer)
    return uid in (os.getuid(), 0)
