"""Starts the detached supervisor. It imports next to nothing: `start` calls it before it reads the manifest, so that
the supervisor's own imports, a tenth of a second, run meanwhile on another core."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def launch(project: Path) -> socket.socket:
    """Start a supervisor, with every signal as it is at a login, and return its first connection.

    It does nothing until a request comes, and exits if the connection closes before that. Until it has the project's
    lock, it shares this process's stderr; then it writes to `run/supervisor.log`.
    """
    ours, theirs = socket.socketpair()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.set_inheritable(theirs.fileno(), True)
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-m", "toombos_cli.supervisor", str(project), str(theirs.fileno())],
            {name: value for name, value in os.environ.items() if name != "TOOMBOS_RUN_ID"},
            file_actions=[(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, null, 1)],
            setsid=True,
            setsigmask=(),
            setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
        )
    finally:
        theirs.close()
        os.close(null)
    return ours


@contextmanager
def launched_early(project: Path) -> Iterator[socket.socket | None]:
    """Yield the connection of a supervisor that waits for its first request, or None if one seems to run already."""
    connection = None if _seems_to_run(project) else launch(project)
    try:
        yield connection
    finally:
        if connection is not None:
            connection.close()


def _seems_to_run(project: Path) -> bool:
    try:
        return (project / "run" / "supervisor.sock").exists()
    except PermissionError:  # another user's: the next step reports it
        return True
