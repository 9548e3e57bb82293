"""The control channel: each connection carries one request of a command line and the replies, one per line."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from toombos_cli.base.directories import make_private_directory
from toombos_cli.base.fixes import here
from toombos_cli.base.trust import NotTrustedError
from toombos_cli.base.untrusted import UntrustedError
from toombos_cli.project.state import RunDirectory
from toombos_cli.supervisor.core import Supervisor
from toombos_cli.supervisor.peers import peer_of
from toombos_cli.supervisor.protocol import (
    LINE_LIMIT_BYTES,
    Broken,
    Busy,
    Done,
    Reply,
    StartRequest,
    decode_request,
    encode,
)

_Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_LOOK_FOR_SOCKET_S = 1.0


async def serve(supervisor: Supervisor, handed_over: socket.socket | None) -> None:
    """Serve the control socket, and the connection that came with the process, until the supervisor exits.

    Raises OSError if the socket cannot be created.
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
        streams = await asyncio.open_unix_connection(sock=handed_over, limit=LINE_LIMIT_BYTES)
        first = asyncio.create_task(accept(*streams))
        open_connections.add(first)
    either: set[asyncio.Future[Any]] = {door, asyncio.ensure_future(supervisor.finished.wait())}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if door.done():
        door.result()  # raises the reason if there is no socket
    door.cancel()
    if open_connections:
        await asyncio.wait(open_connections, timeout=1.0)


async def _keep_open(supervisor: Supervisor, accept: _Accept) -> None:
    """Listen, and listen again if the socket is removed: a clean-up of old files must not make us unreachable.

    Returns if another supervisor has the project. Raises OSError or NotTrustedError if the first socket cannot be
    created.
    """
    server: asyncio.AbstractServer | None = None
    try:
        while supervisor.holds_project():
            try:
                stays = server and (supervisor.is_homeless or supervisor.run.socket.exists())
                listener = None if stays else _listen(supervisor.run)
            except (OSError, NotTrustedError) as error:
                if server is None and supervisor.is_idle:
                    raise
                reason = error.strerror if isinstance(error, OSError) else error
                supervisor.note("socket", f"the control socket cannot be created: {reason}")
            else:
                if listener is not None:
                    if server is not None:
                        server.close()
                    server = await asyncio.start_unix_server(accept, sock=listener, limit=LINE_LIMIT_BYTES)
                    supervisor.note("socket", None)
            await asyncio.sleep(_LOOK_FOR_SOCKET_S)
    finally:
        if server is not None:
            server.close()


def _listen(run: RunDirectory) -> socket.socket:
    """Return the bound socket. This process holds the supervisor's lock, so an old socket file is stale."""
    make_private_directory(run.socket.parent)
    path = run.socket  # checked again, now that its directory exists
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
    except OSError:
        listener.close()
        raise
    return listener


async def _answer(supervisor: Supervisor, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    def send(reply: Reply) -> None:
        if not writer.is_closing():
            writer.write(encode(reply))

    try:
        peer = peer_of(writer.get_extra_info("socket"))
        if not _is_own_user(peer):
            return
        try:
            line = await reader.readline()
        except ValueError:
            send(Broken(message=f"the request is longer than {LINE_LIMIT_BYTES} bytes"))
            return
        if line:
            if supervisor.finished.is_set():
                send(Busy())  # it is exiting: the next supervisor takes the request
                return
            try:
                request = decode_request(line)
            except UntrustedError as error:
                message = f"the running supervisor has a different version: {error}"
                send(Broken(message=message, hint=f"{here('stop')} && {here('restart')}"))
                return
            work = asyncio.ensure_future(supervisor.carry_out(request, send, uid=peer[1] if peer else None))
            await _until_done(reader, writer, work, undo=isinstance(request, StartRequest))
            if not work.cancelled():
                bug = work.exception()
                if bug is not None:  # reported, so that the command does not retry
                    message = f"a bug in the supervisor: {type(bug).__name__}; see {supervisor.run.supervisor_log}"
                    send(Broken(message=message))
                    raise bug
                send(work.result())
            await writer.drain()
    except ConnectionError:
        pass  # the command has gone; what it had started was undone, and every other request has gone on
    finally:
        supervisor.leave_if_idle()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _until_done(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, work: "asyncio.Future[Done]", *, undo: bool
) -> None:
    """Wait for the work, also if the command dies, as after Ctrl-C; with `undo`, cancel it then.

    A start that nobody waits for is undone. A stop or a restart goes on: half of it is not what anybody asked for, and
    the command may have died of it, if a service had called it.
    """
    gone: asyncio.Future[bytes] = asyncio.ensure_future(reader.read(1))
    either: set[asyncio.Future[Any]] = {gone, work}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            writer.close()
            if undo:
                work.cancel()
            await asyncio.wait({work})
    finally:
        gone.cancel()


def _is_own_user(peer: tuple[int, int] | None) -> bool:
    """Report whether the peer runs as this user or root; without a way to ask, the directory's mode decides."""
    return peer is None or peer[1] in (os.getuid(), 0)
