"""Writes `run/state.json` so that it is complete at any moment, also after a crash.

It is not synced to the disk: a state outlives its supervisor, not its boot (see docs/decisions).
"""

from toombos_cli.base.files import replace_file
from toombos_cli.base.own_records import encode_own
from toombos_cli.project.state import RunDirectory, SystemState


class StateFile:
    """The state on disk; `problem` says why the last write failed, or is None."""

    def __init__(self, run: RunDirectory) -> None:
        self._path = run.state
        self._backed_up = False
        self.problem: str | None = None

    def write(self, state: SystemState) -> None:
        """Write the state; if that fails, the old one stays and `problem` says why."""
        try:
            if not self._backed_up and self._path.exists():
                backup = self._path.with_suffix(".json.bak")
                backup.unlink(missing_ok=True)
                backup.hardlink_to(self._path)  # takes no space, so a full disk cannot stop it
            self._backed_up = True
            replace_file(self._path, encode_own(state), durable=False)
            self.problem = None
        except OSError as error:
            self.problem = f"{self._path} could not be written and is out of date: {error.strerror}"
