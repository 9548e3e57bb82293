"""A service's own way to be asked to end: a program that runs once, before any signal."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable

from toombos_cli.base.text import how_it_ended
from toombos_cli.supervisor import spawning
from toombos_cli.supervisor.protocol import ServicePlan

WatchChild = Callable[["subprocess.Popen[bytes]", Callable[[int], None]], None]
"""Calls the function once, with the return code, when the child has ended and was reaped."""


class StopCommand:
    """A stop command from its start to its end. `failure` says why it did not help, or is None."""

    def __init__(self, plan: ServicePlan, pid: int, watch_child: WatchChild) -> None:
        self.failure: str | None = None
        self._over = asyncio.Event()
        try:
            self._child = spawning.spawn_stop_command(plan, pid)
        except spawning.CannotStartError as error:
            self.failure = error.failure.message
            self._over.set()
        else:
            watch_child(self._child, self._note_end)

    def _note_end(self, exit_code: int) -> None:
        self._over.set()
        if exit_code != 0:
            self.failure = f"its stop_command {how_it_ended(exit_code)}"

    async def wait(self, within_s: float) -> None:
        """Wait until the command has ended, for so long at most."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), within_s)

    def kill(self) -> None:
        """End the command and its children if it still runs."""
        if not self._over.is_set():
            os.killpg(self._child.pid, signal.SIGKILL)
