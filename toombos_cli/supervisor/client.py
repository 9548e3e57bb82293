"""The command line's side of the control channel: finds or starts the supervisor, sends a request, reads replies."""

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from toombos_cli import processes
from toombos_cli.base.errors import OperationError
from toombos_cli.base.fixes import here
from toombos_cli.base.quoting import joined
from toombos_cli.base.untrusted import UntrustedError
from toombos_cli.project.own_processes import find_survivors, recorded_supervisor
from toombos_cli.project.state import RunDirectory, read_state
from toombos_cli.supervisor.peers import check_server
from toombos_cli.supervisor.protocol import (
    LINE_LIMIT_BYTES,
    Broken,
    Busy,
    Done,
    Progress,
    Request,
    StatusRequest,
    decode_reply,
    encode,
)

_SETTLE_S = 30.0
_RETRY_S = 0.02
_SILENCE_S = 5.0
_DEPARTURE_S = 2.0
_PATIENCE_WITH_SILENCE = 2  # one may exit just when the request arrives
_OnProgress = Callable[[Progress], None]


class SilentSupervisorError(OperationError):
    """A supervisor runs and does not respond."""


def ask_running(project: Path, request: Request, on_progress: _OnProgress | None = None) -> Done | None:
    """Return the supervisor's reply, or None if none runs (or it is just exiting). Raises OperationError.

    A reply may take as long as the services take; a supervisor that hangs is still detected within seconds.
    """
    run = RunDirectory(project)
    connection = _connect(run)
    if connection is None:
        return None
    with connection:
        answer = _converse(run, connection, request, on_progress)
    return answer if isinstance(answer, Done) else None


def see_off(supervisor_pid: int) -> None:
    """Wait until an exiting supervisor is gone and the project's directory is free, at most two seconds."""
    fd = processes.open_pidfd(supervisor_pid)
    if fd is not None:
        try:
            select.select([fd], [], [], _DEPARTURE_S)
        finally:
            os.close(fd)


def survivors(project: Path) -> bool:
    """Report whether a process of this project still runs, by its tag or by the written state."""
    return bool(find_survivors(project, read_state(project)))


def ask(
    project: Path,
    request: Request,
    on_progress: _OnProgress | None = None,
    *,
    early: socket.socket | None = None,
) -> Done:
    """Return the reply of the project's supervisor, which is started if there is none. Raises OperationError.

    `early` is the connection of a supervisor that was launched ahead; it is used if no other one runs.

    Retries if two commands start at once, or if the supervisor is just exiting.
    """
    from toombos_cli.supervisor.spawn_supervisor import launch

    run = RunDirectory(project)
    deadline = time.monotonic() + _SETTLE_S
    silent = 0
    while True:
        connection = _connect(run) or early or launch(project)
        if connection is early:
            early = None
        with connection:
            answer = _converse(run, connection, request, on_progress)
        if isinstance(answer, Done):
            return answer
        silent += answer is None
        if silent > _PATIENCE_WITH_SILENCE:
            raise OperationError(
                "the supervisor ended without a response", hint=joined(("cat", str(run.supervisor_log)))
            )
        if time.monotonic() > deadline:
            raise OperationError(
                f"no response from the supervisor within {_SETTLE_S:g} s",
                where=str(run.socket),
                hint=joined(("cat", str(run.supervisor_log))),
            )
        time.sleep(_RETRY_S)


def _connect(run: RunDirectory) -> socket.socket | None:
    """Return a connection to the running supervisor, or None if there is none.

    Raises OperationError, NotTrustedError if it is not a supervisor of a user whom this one believes.
    """
    deadline, path = time.monotonic() + _SILENCE_S, run.socket
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_SILENCE_S)
        try:
            connection.connect(str(path))
            check_server(connection, path, run.project)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            connection.close()
            return None
        except BlockingIOError:  # its queue of connections is full
            connection.close()
            if time.monotonic() > deadline:
                raise _hangs(run) from None
            time.sleep(_RETRY_S)
        except OSError as error:
            connection.close()
            raise OperationError(f"the supervisor cannot be reached: {error.strerror}", where=str(path)) from None
        except BaseException:
            connection.close()
            raise
        else:
            return connection


def _converse(
    run: RunDirectory, connection: socket.socket, request: Request, on_progress: _OnProgress | None
) -> Done | Busy | None:
    """Return the final reply, or None if the supervisor exited before it. Raises OperationError."""
    with contextlib.suppress(ConnectionError):
        try:
            connection.sendall(encode(request))
        except TimeoutError:
            raise _hangs(run) from None
        for line in _lines(run, connection, request):
            try:
                reply = decode_reply(line)
            except UntrustedError as error:
                raise OperationError(
                    f"the running supervisor has a different version: {error}",
                    hint=f"{here('stop')} && {here('restart')}",
                ) from None
            if isinstance(reply, Progress):
                if on_progress is not None:
                    on_progress(reply)
            elif isinstance(reply, Broken):
                raise OperationError(reply.message, hint=reply.hint)
            else:
                return reply
    return None


def _lines(run: RunDirectory, connection: socket.socket, request: Request) -> Iterator[bytes]:
    """Yield the supervisor's lines. It may be silent as long as a service takes, if it responds to other requests."""
    connection.settimeout(_SILENCE_S)
    begun: list[bytes] = []
    while True:
        try:
            received = connection.recv(65_536)
        except TimeoutError:
            if isinstance(request, StatusRequest):
                raise _hangs(run) from None
            ask_running(run.project, StatusRequest())
            continue
        if not received:
            return
        *lines, rest = received.split(b"\n")
        for end in lines:
            yield b"".join((*begun, end))
            begun.clear()
        begun.append(rest)
        if sum(map(len, begun)) > LINE_LIMIT_BYTES:
            raise OperationError(f"the reply is longer than {LINE_LIMIT_BYTES} bytes", where=str(run.socket))


def _hangs(run: RunDirectory) -> SilentSupervisorError:
    """Return the error for an unresponsive supervisor. It is not killed: it may be busy; the user decides."""
    message = f"the supervisor has not responded for {_SILENCE_S:g} s"
    state = read_state(run.project)
    supervisor = recorded_supervisor(run.project, state)
    row = processes.read_row(supervisor.pid) if supervisor else None
    if row is None:
        hint = joined(("cat", str(run.supervisor_log)))
    elif row.stopped:
        message = f"{message}: it is suspended (pid {row.pid})"
        hint = f"kill -CONT {row.pid}"
    else:
        message = f"{message}: it hangs (pid {row.pid}); the services keep running without it"
        hint = f"kill -KILL {row.pid} && {here('status')}"
    return SilentSupervisorError(message, where=str(run.socket), hint=hint)
