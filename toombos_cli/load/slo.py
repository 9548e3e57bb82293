"""Service level objectives as people write them: `p99<800ms, error_rate<1%`.

    objective  = metric comparison value
    metric     = [ "response." | "service." | "connect." | "ttfb." ] percentile   (p50, p99.9, ..., max, mean)
               | "error_rate" | "rps"
    comparison = "<" | "<=" | ">" | ">="
    value      = duration (us, ms, s, m) for latencies, number or percent for error_rate, number for rps

A percentile without a prefix is of the response time: what a user waits.
"""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

from toombos_cli.base.errors import UsageError
from toombos_cli.base.results import Verdict
from toombos_cli.base.text import UNITS_S

Distribution = Literal["response", "service", "connect", "ttfb"]
Kind = Literal["latency", "error_rate", "rps"]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_METRIC = re.compile(r"(?:(response|service|connect|ttfb)\.)?(?:p(\d{1,3}(?:\.\d+)?)|(max|mean))|(error_rate)|(rps)")
_COMPARISON = re.compile(r"<=|>=|<|>")
_VALUE = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|%)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One objective. `limit` is in microseconds, as a ratio 0..1, or in requests a second, by `kind`.

    `percent` is 100 for the maximum and None for the mean.
    """

    text: str
    kind: Kind
    distribution: Distribution = "response"
    percent: float | None = None
    comparison: str
    limit: float

    def holds(self, measured: float) -> bool:
        """Whether the measured value meets the objective."""
        return _COMPARE[self.comparison](measured, self.limit)

    @property
    def is_upper_bound(self) -> bool:
        """Whether lower is better."""
        return self.comparison.startswith("<")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveResult:
    """What became of one objective; `measured` in the unit of `limit`, None when nothing was measured."""

    objective: str
    kind: Kind
    verdict: Verdict
    measured: float | None
    limit: float
    detail: str


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """The objectives of a comma-separated list. Raises UsageError that shows the position of what is wrong."""
    found = []
    position = 0
    while True:
        objective, position = _parse_one(text, position)
        found.append(objective)
        position = _skip_blanks(text, position)
        if position == len(text):
            return tuple(found)
        if text[position] != ",":
            raise _error(text, position, "expected a comma or the end")
        position += 1


def _parse_one(text: str, position: int) -> tuple[Objective, int]:
    begin = position = _skip_blanks(text, position)
    metric = _METRIC.match(text, position)
    if not metric or (metric[2] and not 0 < float(metric[2]) <= 100):
        raise _error(text, position, "expected a metric: p50 ... p99.99, max, mean, error_rate or rps")
    kind: Kind = "error_rate" if metric[4] else "rps" if metric[5] else "latency"
    position = _skip_blanks(text, metric.end())
    comparison = _COMPARISON.match(text, position)
    if not comparison:
        raise _error(text, position, "expected <, <=, > or >=")
    position = _skip_blanks(text, comparison.end())
    value = _VALUE.match(text, position)
    if not value:
        raise _error(text, position, "expected a number")
    limit = _limit(kind, float(value[1]), value[2])
    if limit is None:
        expected = {"latency": "a unit: us, ms, s or m", "error_rate": "a number or percent", "rps": "a bare number"}
        raise _error(text, value.end(1), f"expected {expected[kind]}")
    objective = Objective(
        text=text[begin : value.end()],
        kind=kind,
        distribution=cast(Distribution, metric[1] or "response"),
        percent=float(metric[2]) if metric[2] else 100.0 if metric[3] == "max" else None,
        comparison=comparison[0],
        limit=limit,
    )
    return objective, value.end()


def _limit(kind: Kind, number: float, unit: str | None) -> float | None:
    """The value in the unit of its kind; None when the unit does not fit."""
    if kind == "latency":
        return number * UNITS_S[unit] * 1e6 if unit in UNITS_S else None
    if kind == "error_rate":
        return number / 100 if unit == "%" else number if unit is None else None
    return number if unit is None else None


def _skip_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _error(text: str, position: int, message: str) -> UsageError:
    return UsageError(f"{message} at position {position + 1}\n  {text}\n  {' ' * position}^", where="--slo")
