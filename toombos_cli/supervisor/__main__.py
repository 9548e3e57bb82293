"""`python -P -m toombos_cli.supervisor PROJECT FD`: the detached supervisor; FD is its first control connection."""

import asyncio
import contextlib
import os
import select
import signal
import socket
import sys
from importlib import import_module
from pathlib import Path

from toombos_cli.base import locks
from toombos_cli.base.files import open_to_append
from toombos_cli.base.trust import NotTrustedError
from toombos_cli.project.state import RunDirectory
from toombos_cli.supervisor.core import Supervisor
from toombos_cli.supervisor.lifecycle import supervise
from toombos_cli.supervisor.protocol import Broken, Busy, Reply, encode

_NEEDED_SOON = (
    "ctypes",
    "hashlib",
    "toombos_cli.probes",
    "urllib.request",
    "http.cookiejar",
    "h11",
    "toombos_cli.probes.lean_httpx",
    "toombos_cli.probes.transport",
    "psutil",
)
"""What a start with HTTP services imports until it replies, in the order in which it needs it."""


def main(project: Path, handed_over: socket.socket) -> int:
    """Supervise until nothing is left to do. Return 0 also if there is no request or another supervisor runs."""
    _import_while_idle(handed_over)
    if not handed_over.recv(1, socket.MSG_PEEK):
        return 0  # launched ahead of a command that then had no request
    run = RunDirectory(project)
    try:
        run.create()
        lock = locks.take(run.supervisor_lock)
        if lock is not None:
            _write_to(run.supervisor_log)
    except OSError as error:
        return _leave(handed_over, Broken(message=f"{error.filename or run.path}: {error.strerror}"))
    except NotTrustedError as error:
        return _leave(handed_over, Broken(message=str(error), hint=error.problems[0].hint))
    if lock is None:
        return _leave(handed_over, Busy())
    try:
        asyncio.run(supervise(Supervisor(project, lock), handed_over))
    finally:
        os.close(lock)
    return 0


def _import_while_idle(command: socket.socket) -> None:
    """Import what is needed soon until the command that launched us has its request ready.

    The services, which need the processor themselves, would wait for the rest.
    """
    for name in _NEEDED_SOON:
        if select.select([command], [], [], 0)[0]:
            return
        import_module(name)


def _close_all_but(kept: int) -> None:
    """Close the descriptors inherited from the shell: a reader of such a pipe would wait for this process forever."""
    for name in os.listdir("/dev/fd"):  # noqa: PTH208
        if int(name) > 2 and int(name) != kept:
            with contextlib.suppress(OSError):
                os.close(int(name))


def _write_to(log: Path) -> None:
    """Redirect stderr to the log; nothing of the command that started us stays open."""
    fd = open_to_append(log)
    os.dup2(fd, 2)
    os.close(fd)


def _leave(connection: socket.socket, reply: Reply) -> int:
    connection.sendall(encode(reply))
    connection.close()
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, lambda *_: None)  # not SIG_IGN, which the services would inherit
    _close_all_but(int(sys.argv[2]))
    sys.exit(main(Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))))
