"""A circuit breaker: after repeated failures a target gets no requests for a while, then a single trial.

closed -> (failures in a row) -> open -> (time) -> half-open -> one trial -> closed, or open again.
"""

from collections.abc import Callable
from enum import StrEnum
from time import monotonic


class CircuitState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitOpenError(Exception):
    """The target failed repeatedly and gets no requests for now. `retry_after_s` is the time until the next trial."""

    def __init__(self, target: str, retry_after_s: float) -> None:
        super().__init__(f"{target} failed repeatedly; the next attempt is possible in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


class CircuitBreaker:
    """The guard of one target. Call `admit` before each request, then exactly one of `succeed`, `fail`, `release`."""

    def __init__(
        self,
        target: str,
        *,
        failures_to_open: int = 8,
        open_s: float = 5.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._target = target
        self._failures_to_open = failures_to_open
        self._open_s = open_s
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._trial_running = False

    @property
    def state(self) -> CircuitState:
        if self._opened_at is None:
            return CircuitState.CLOSED
        return CircuitState.HALF_OPEN if self._remaining_s() <= 0 else CircuitState.OPEN

    def admit(self) -> None:
        """Let one request pass. Raise CircuitOpenError while open, and while half-open for all but the trial."""
        state = self.state
        if state is CircuitState.CLOSED:
            return
        if state is CircuitState.OPEN or self._trial_running:
            raise CircuitOpenError(self._target, max(self._remaining_s(), 0.0))
        self._trial_running = True

    def succeed(self) -> None:
        """Note that the target gave a valid response, even if it rejected the request."""
        self._failures = 0
        self._opened_at = None
        self._trial_running = False

    def fail(self) -> None:
        """Note that the target did not respond, or reported that it is broken or overloaded."""
        self._failures += 1
        if self._trial_running or (self._opened_at is None and self._failures >= self._failures_to_open):
            self._opened_at = self._clock()
        self._trial_running = False

    def release(self) -> None:
        """Note that the request was given up, which says nothing about the target."""
        self._trial_running = False

    def _remaining_s(self) -> float:
        return 0.0 if self._opened_at is None else self._opened_at + self._open_s - self._clock()
