"""When a service that ended may start again: at once, then with exponential backoff, until it is a crash loop."""

import random
from collections import deque

from toombos_cli.manifest.tables.service import RestartTable


class RestartPolicy:
    """The restarts of one service; times are seconds on one monotonic clock."""

    def __init__(self, settings: RestartTable, *, jitter: random.Random | None = None) -> None:
        self._settings = settings
        self._recent: deque[float] = deque()
        self._attempt = 0
        self._failing_s = 0.0
        self._jitter = jitter or random.Random()  # noqa: S311  (spreads restarts in time, protects nothing)

    def wants_restart(self, exit_code: int | None) -> bool:
        """Report whether the policy restarts after this exit; None is an unknown exit code."""
        if self._settings.policy == "on-failure":
            return exit_code != 0
        return self._settings.policy == "always"

    def delay_s(self, now: float, *, healthy_s: float, failing_s: float = 0.0) -> float | None:
        """Return the seconds to wait before the next start, or None for a crash loop: too many restarts in the window.

        `healthy_s` is how long the service had been ready, and `failing_s` the last part of that, in which its probes
        failed and the window stood still: a service that is restarted because of them fails slower than one that exits.
        `reset_after_s` of health resets the count. The first restart of a service that was ready is at once; the
        pauses begin with the second.
        """
        self._failing_s += failing_s
        now, healthy_s = now - self._failing_s, healthy_s - failing_s
        if healthy_s >= self._settings.reset_after_s:
            self._attempt = 0
            self._recent.clear()
        while self._recent and now - self._recent[0] > self._settings.crash_loop_window_s:
            self._recent.popleft()
        if len(self._recent) >= self._settings.crash_loop_count:
            return None
        is_first = not self._recent
        self._recent.append(now)
        if is_first and healthy_s > 0:
            return 0.0
        full: float = min(self._settings.backoff_initial_s * 2**self._attempt, self._settings.backoff_max_s)
        self._attempt += 1
        return full * self._jitter.uniform(0.75, 1.0)
