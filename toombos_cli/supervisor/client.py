"""The command line's side of the control channel: finds the supervisor or begins one, asks, and hears the answer."""

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from toombos_cli.errors import OperationError
from toombos_cli.run_state import RunDirectory, read_state
from toombos_cli.supervisor.protocol import Broken, Busy, Done, Progress, Request, decode_reply, encode

_SETTLE_S = 30.0
_RETRY_S = 0.02
_PATIENCE_WITH_SILENCE = 2  # one may leave at the very moment at which it is asked


def ask_running(
    project: Path,
    request: Request,
    on_progress: Callable[[Progress], None] | None = None,
    *,
    timeout_s: float | None = None,
) -> Done | None:
    """The supervisor's answer, or None when no supervisor runs (or it leaves just now). Raises OperationError."""
    run = RunDirectory(project)
    connection = _connect(run)
    if connection is None:
        return None
    with connection:
        connection.settimeout(timeout_s)
        try:
            answer = _converse(connection, request, on_progress)
        except TimeoutError:
            message = f"the supervisor has not answered for {timeout_s:g} s"
            raise OperationError(message, where=str(run.socket), hint=f"cat {run.supervisor_log}") from None
    return answer if isinstance(answer, Done) else None


def survivors(project: Path) -> bool:
    """Whether a process of this project still runs, as its tag or the written state tells."""
    from toombos_cli.supervisor.adoption import find_survivors  # `status` does without

    return bool(find_survivors(project, read_state(project)))


def ask(
    project: Path,
    request: Request,
    on_progress: Callable[[Progress], None] | None = None,
    *,
    early: socket.socket | None = None,
) -> Done:
    """The answer of the project's supervisor, which is begun when there is none. Raises OperationError.

    `early` is the connection of a supervisor that was launched ahead; it is used when no other one runs.

    Two commands at once, or one that meets a supervisor which is just leaving, find each other again here.
    """
    from toombos_cli.supervisor.launching import launch

    run = RunDirectory(project)
    deadline = time.monotonic() + _SETTLE_S
    silent = 0
    while True:
        connection = _connect(run) or early or launch(project)
        if connection is early:
            early = None
        with connection:
            answer = _converse(connection, request, on_progress)
        if isinstance(answer, Done):
            return answer
        silent += answer is None
        if silent > _PATIENCE_WITH_SILENCE:
            raise OperationError("the supervisor ended without an answer", hint=f"cat {run.supervisor_log}")
        if time.monotonic() > deadline:
            raise OperationError(
                f"no answer from the supervisor within {_SETTLE_S:g} s",
                where=str(run.socket),
                hint=f"cat {run.supervisor_log}",
            )
        time.sleep(_RETRY_S)


def _connect(run: RunDirectory) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(run.socket))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        raise OperationError(f"the supervisor cannot be asked: {error.strerror}", where=str(run.socket)) from None
    return connection


def _converse(
    connection: socket.socket, request: Request, on_progress: Callable[[Progress], None] | None
) -> Done | Busy | None:
    """The final reply; None when the supervisor left before it answered. Raises OperationError."""
    with contextlib.suppress(ConnectionError), connection.makefile("rwb") as stream:
        stream.write(encode(request))
        stream.flush()
        for line in stream:
            try:
                reply = decode_reply(line)
            except msgspec.DecodeError as error:
                raise OperationError(
                    f"the running supervisor is of another version: {error}", hint="toombos stop && toombos start"
                ) from None
            if isinstance(reply, Progress):
                if on_progress is not None:
                    on_progress(reply)
            elif isinstance(reply, Broken):
                raise OperationError(reply.message)
            else:
                return reply
    return None
