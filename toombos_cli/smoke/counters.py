"""Proof by counting: a step must raise each of its `counters` by exactly the declared amount."""

import time
from decimal import Context, Decimal
from typing import Any

from toombos_cli.base.exact_numbers import as_decimal, encode_exact, is_number
from toombos_cli.base.text import size
from toombos_cli.manifest.tables.conditions import value_at
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.manifest.tables.smoke_parts import Counter
from toombos_cli.probes import Reason, probe_http
from toombos_cli.probes.endpoint import endpoint_of
from toombos_cli.probes.steps.judge import Mismatch
from toombos_cli.probes.steps.metrics import metric_value
from toombos_cli.probes.steps.response import StepResponse
from toombos_cli.smoke.system import Known

_SETTLE_S = 1.0
_MAX_BYTES = 4 * 1024 * 1024
_MOST_DIGITS = 400
_EXACT = Context(prec=_MOST_DIGITS)


class UnreadableCounterError(Exception):
    """A counter could not be read, so the step proves nothing."""


class CounterProof:
    """Reads the counters before the step; `mismatches()` reads them again after it."""

    def __init__(self, step: SmokeStep, known: Known) -> None:
        """Read the counters of a filled step. Raises UnreadableCounterError, and as `Known.path`."""
        self._counters = step.counters
        self._known = known
        self._user = step.service
        self._rises = [_wanted(counter) for counter in self._counters]
        self._before = [self._read(counter) for counter in self._counters]

    def mismatches(self) -> tuple[Mismatch, ...]:
        """Return the counters that did not rise as declared, after giving slow counters a moment to catch up.

        Raises UnreadableCounterError.
        """
        deadline = time.monotonic() + _SETTLE_S
        while True:
            now = [self._read(counter) for counter in self._counters]
            rises = [_EXACT.subtract(after, before) for after, before in zip(now, self._before, strict=True)]
            lags = any(rise < wanted for rise, wanted in zip(rises, self._rises, strict=True))
            if not lags or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return tuple(
            Mismatch(f"{_name(c)} rises by {_shown(wanted)}", f"{_name(c)} rose by {_shown(rise)}{_hint(rise, wanted)}")
            for c, rise, wanted in zip(self._counters, rises, self._rises, strict=True)
            if rise != wanted
        )

    def _read(self, counter: Counter) -> Decimal:
        system = self._known.system
        service = system.services[counter.service]
        headers = system.headers(service)
        path = self._known.path(counter.path, service, headers=headers, user=self._user)
        result = probe_http(
            service.url + path,
            headers=headers,
            timeout_s=5,
            max_body_bytes=_MAX_BYTES,
            endpoint=endpoint_of(service),
        )
        if result.reason is not Reason.OK:
            raise UnreadableCounterError(f"{_name(counter)}: {result.reason}: {result.detail}")
        if result.truncated:
            raise UnreadableCounterError(f"{_name(counter)}: {path} is longer than {size(_MAX_BYTES)}")
        response = StepResponse(result=result)
        try:
            if counter.metric is not None:
                return as_decimal(metric_value(response.text, counter.metric) or 0.0)
            if response.not_json:
                raise UnreadableCounterError(f"{_name(counter)}: {response.not_json}")
            value = value_at(response.json, counter.json or "$")
        except ValueError as error:
            raise UnreadableCounterError(f"{_name(counter)}: {error}") from None
        return _number(value, f"{_name(counter)}: its value in {path} is not a number")


def _wanted(counter: Counter) -> Decimal:
    shown = encode_exact(counter.rises_by)
    return _number(counter.rises_by, f"{_name(counter)}: rises_by is {shown}, which is not a number")


def _number(value: Any, complaint: str) -> Decimal:
    """Return the number, if sums with it are exact. Raises UnreadableCounterError."""
    number = as_decimal(value) if is_number(value) else None
    if number is None or not number.is_finite() or abs(number.adjusted()) > _MOST_DIGITS // 2:
        raise UnreadableCounterError(complaint)
    return number


def _name(counter: Counter) -> str:
    return f"{counter.service} {counter.json or counter.metric}"


def _shown(number: Decimal) -> str:
    return f"{number.normalize(_EXACT):f}"


def _hint(rise: Decimal, wanted: Decimal) -> str:
    return " (more than this step caused: is another client using the system?)" if rise > wanted else ""
