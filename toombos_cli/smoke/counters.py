"""Proof by counting: a step must raise each of its `counters` by exactly the declared amount."""

import time
from collections.abc import Mapping

from toombos_cli.base.text import size
from toombos_cli.manifest.tables.conditions import value_at
from toombos_cli.manifest.tables.service import Service
from toombos_cli.manifest.tables.smoke import Counter, SmokeStep
from toombos_cli.probes import Reason, probe_http, read_json
from toombos_cli.smoke.judge import Mismatch
from toombos_cli.smoke.metrics import metric_value

_SETTLE_S = 1.0
_MAX_BYTES = 4 * 1024 * 1024
_MOST = 2**53
"""Beyond it, adding 1 may not change a number."""


class UnreadableCounterError(Exception):
    """A counter could not be read, so the step proves nothing."""


class CounterProof:
    """Reads the counters before the step; `mismatches()` reads them again after it."""

    def __init__(self, step: SmokeStep, services: Mapping[str, Service]) -> None:
        """Read the counters. Raises UnreadableCounterError."""
        self._counters = step.counters
        self._services = services
        self._before = [self._read(counter) for counter in self._counters]

    def mismatches(self) -> tuple[Mismatch, ...]:
        """Return the counters that did not rise as declared, after giving slow counters a moment to catch up.

        Raises UnreadableCounterError.
        """
        deadline = time.monotonic() + _SETTLE_S
        while True:
            rises = [self._read(c) - before for c, before in zip(self._counters, self._before, strict=True)]
            lags = any(rise < counter.rises_by for counter, rise in zip(self._counters, rises, strict=True))
            if not lags or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return tuple(
            Mismatch(f"{_name(c)} rises by {c.rises_by:g}", f"{_name(c)} rose by {rise:g}{_hint(c, rise)}")
            for c, rise in zip(self._counters, rises, strict=True)
            if rise != c.rises_by
        )

    def _read(self, counter: Counter) -> float:
        url = self._services[counter.service].url + counter.path
        result = probe_http(url, timeout_s=5, max_body_bytes=_MAX_BYTES)
        if result.reason is not Reason.OK:
            raise UnreadableCounterError(f"{_name(counter)}: {result.reason}: {result.detail}")
        if result.truncated:
            raise UnreadableCounterError(f"{_name(counter)}: {counter.path} is longer than {size(_MAX_BYTES)}")
        try:
            if counter.metric is not None:
                return metric_value(result.body.decode("utf-8", "replace"), counter.metric) or 0.0
            value = value_at(read_json(result), counter.json or "$")
        except ValueError as error:
            raise UnreadableCounterError(f"{_name(counter)}: {error}") from None
        if isinstance(value, bool) or not isinstance(value, int | float) or not -_MOST <= value <= _MOST:
            raise UnreadableCounterError(f"{_name(counter)}: its value in {counter.path} is not a number")
        return value


def _name(counter: Counter) -> str:
    return f"{counter.service} {counter.json or counter.metric}"


def _hint(counter: Counter, rise: float) -> str:
    return " (more than this step caused: is another client using the system?)" if rise > counter.rises_by else ""
