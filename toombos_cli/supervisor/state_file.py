"""Writes `run/state.json` so that a reader, or a crash at any moment, finds a whole one.

It is not forced to the disk: a state outlives its supervisor, not its boot (see docs/decisions).
"""

import os
from pathlib import Path

import msgspec

from toombos_cli.run_state import RunDirectory, SystemState


def write_private(path: Path, content: bytes, *, durable: bool) -> None:
    """Replaces the file at once, readable by its owner alone; `durable`: on disk when this returns. Raises OSError.

    On any error the file is as it was before.
    """
    temporary = path.with_name(f"{path.name}.new")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            written = 0
            while written < len(content):
                written += os.write(fd, content[written:])
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class StateFile:
    """The state on disk; remembers why the last write failed, and that it did."""

    def __init__(self, run: RunDirectory) -> None:
        self._path = run.state
        self._backed_up = False
        self.problem: str | None = None

    def write(self, state: SystemState) -> None:
        """Writes the state; when that fails the old one stays and `problem` says why."""
        try:
            if not self._backed_up and self._path.exists():
                backup = self._path.with_suffix(".json.bak")
                backup.unlink(missing_ok=True)
                backup.hardlink_to(self._path)  # takes no space, so a full disk cannot stop it
            self._backed_up = True
            write_private(self._path, msgspec.json.encode(state), durable=False)
            self.problem = None
        except OSError as error:
            self.problem = f"{self._path} could not be written and is out of date: {error.strerror}"
