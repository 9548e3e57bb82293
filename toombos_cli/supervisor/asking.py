"""Decides which processes of a service are asked to end, by which signal and when, before what is left is killed."""

import signal
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from toombos_cli import processes

if TYPE_CHECKING:
    from toombos_cli.supervisor.stop_command import StopCommand

_EVERYONE_AFTER, _SIGTERM_AFTER = 0.5, 0.8  # as shares of the grace period
_PATIENCE_SHARE, _LEAST_PATIENCE_S, _MOST_PATIENCE_S = 0.1, 0.25, 1.0


class Asking:
    """The signals that ask the processes of one tree to end; each process gets each of them at most once.

    The leader is asked first, because it knows its workers best, unless a stop command asks it. All others are asked
    when the leader is gone, when it only waits for a child, as a wrapper script does, and after half the grace period.
    Last, SIGTERM goes to what another stop signal did not end: children of a shell may ignore SIGINT and SIGQUIT.
    """

    def __init__(
        self,
        leader: int,
        grace_s: float,
        stop_signal: signal.Signals = signal.SIGTERM,
        command: "StopCommand | None" = None,
    ) -> None:
        self.grace_s = grace_s
        self.stop_signal = stop_signal
        self.command = command
        self._leader = leader
        self._began = time.monotonic()
        self._leader_asked_s: float | None = None
        self._sent: set[tuple[int, signal.Signals]] = set()

    @property
    def has_signalled(self) -> bool:
        """Whether a signal was due at all."""
        return bool(self._sent)

    def hurry(self) -> None:
        """End the grace period now."""
        self.grace_s = min(self.grace_s, round(time.monotonic() - self._began, 1))

    def due(self, members: Collection[int], elapsed_s: float) -> set[tuple[int, signal.Signals]]:
        """Return the pids to be signalled now, with the signal of each; `elapsed_s` is the time since the beginning."""
        wanted: set[tuple[int, signal.Signals]] = set()
        if self._is_everyones_turn(members, elapsed_s):
            wanted = {(pid, self.stop_signal) for pid in members}
            if elapsed_s >= _SIGTERM_AFTER * self.grace_s:
                wanted |= {(pid, signal.SIGTERM) for pid in members}
        elif self.command is None or self.command.failure is not None:
            wanted = {(self._leader, self.stop_signal)}
            if self._leader_asked_s is None:
                self._leader_asked_s = elapsed_s
        new = wanted - self._sent
        self._sent |= new
        return new

    def _is_everyones_turn(self, members: Collection[int], elapsed_s: float) -> bool:
        if self._leader not in members or elapsed_s >= _EVERYONE_AFTER * self.grace_s:
            return True
        if self._leader_asked_s is None:
            return False
        patience_s = min(max(_PATIENCE_SHARE * self.grace_s, _LEAST_PATIENCE_S), _MOST_PATIENCE_S)
        return elapsed_s - self._leader_asked_s >= patience_s and processes.waits_for_child(self._leader)
