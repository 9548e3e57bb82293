"""Service level objectives: their syntax (`p99<800ms, error_rate<1%`), and whether a run met them.

    objective  = metric comparison value
    metric     = [ "response." | "service." | "connect." | "ttfb." ] percentile   (p50, p99.9, ..., max, mean)
               | "error_rate" | "rps"
    comparison = "<" | "<=" | ">" | ">="
    value      = duration (us, ms, s, m) for latencies, number or percent for error_rate, number for rps

A percentile without a prefix refers to the response time: how long a user waits.
"""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from toombos_cli.base.errors import UsageError
from toombos_cli.base.results import Verdict
from toombos_cli.base.text import UNITS_S
from toombos_cli.load.build_report import count_requests, distributions_of, settled_counts
from toombos_cli.load.engine import histogram
from toombos_cli.load.engine.histogram import Distribution
from toombos_cli.load.engine.recorder import EngineResult
from toombos_cli.load.options import LoadOptions
from toombos_cli.load.report import Counts, ObjectiveKind, ObjectiveResult

Measured = Literal["response", "service", "connect", "ttfb"]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_METRIC = re.compile(r"(?:(response|service|connect|ttfb)\.)?(?:p(\d{1,3}(?:\.\d+)?)|(max|mean))|(error_rate)|(rps)")
_COMPARISON = re.compile(r"<=|>=|<|>")
_ENOUGH_TO_GIVE_UP = 100
_VALUE = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|%)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One objective. `limit` is in microseconds, a ratio 0..1, or requests per second, depending on `kind`.

    `percent` is 100 for the maximum and None for the mean.
    """

    text: str
    kind: ObjectiveKind
    distribution: Measured = "response"
    percent: float | None = None
    comparison: str
    limit: float

    def holds(self, measured: float) -> bool:
        """Report whether the measured value meets the objective."""
        return _COMPARE[self.comparison](measured, self.limit)

    @property
    def is_upper_bound(self) -> bool:
        """Report whether lower is better."""
        return self.comparison.startswith("<")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadCriteria:
    """The criteria for the verdict on a run, and where its figures are saved."""

    objectives: tuple[Objective, ...] = ()
    abort_on_fail: bool = False
    baseline: Path | None = None
    save_baseline: Path | None = None


def criteria_of(options: LoadOptions) -> LoadCriteria:
    """Return the criteria for the verdict on the run. Raise UsageError."""
    saved = options.save_baseline
    if saved is not None and saved.exists() and not saved.is_file():
        raise UsageError("not a regular file", where=f"--save-baseline {saved}", hint="give the path of a file")
    objectives = parse_objectives(options.slo) if options.slo is not None else ()
    if options.abort_on_fail and not objectives:
        raise UsageError("needs --slo", where="--abort-on-fail")
    return LoadCriteria(
        objectives=objectives, abort_on_fail=options.abort_on_fail, baseline=options.baseline, save_baseline=saved
    )


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """Return the objectives of a comma-separated list. Raise UsageError that shows the position of the mistake."""
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
    kind: ObjectiveKind = "error_rate" if metric[4] else "rps" if metric[5] else "latency"
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
        distribution=cast(Measured, metric[1] or "response"),
        percent=float(metric[2]) if metric[2] else 100.0 if metric[3] == "max" else None,
        comparison=comparison[0],
        limit=limit,
    )
    return objective, value.end()


def _limit(kind: ObjectiveKind, number: float, unit: str | None) -> float | None:
    """Return the value in the unit of its kind, or None if the unit does not fit."""
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


def judge_all(objectives: tuple[Objective, ...], outcome: EngineResult) -> tuple[ObjectiveResult, ...]:
    """Return whether each objective was met by a run that has ended."""
    distributions, counts = distributions_of(outcome), settled_counts(outcome)
    throughput_rps = (counts.ok + counts.http_error) / outcome.duration_s
    return tuple(judge(objective, distributions, counts, throughput_rps) for objective in objectives)


def judge(
    objective: Objective, distributions: dict[str, Distribution], counts: Counts, throughput_rps: float
) -> ObjectiveResult:
    """Return the verdict on the objective; ERROR if requests without a response leave it undecided."""
    measured: float | None
    unknown = False
    if objective.kind == "error_rate":
        measured = counts.error_rate if counts.scheduled else None
        shown = f"{measured:.3%}" if measured is not None else ""
    elif objective.kind == "rps":
        measured = throughput_rps
        shown = f"{measured:.1f} rps"
    else:
        found = distributions[objective.distribution]
        samples = histogram.count(found.all)
        if objective.percent is None:
            measured, unknown = histogram.mean(found.all), bool(found.censored)
        else:
            measured, unknown = found.at(objective.percent), found.reaches_censored(objective.percent)
        measured = measured if samples else None
        shown = f"{measured / 1000:.3f} ms" if measured is not None else ""
    verdict, detail = _verdict(objective, measured, shown, unknown)
    return ObjectiveResult(
        objective=objective.text,
        kind=objective.kind,
        verdict=verdict,
        measured=measured,
        limit=objective.limit,
        detail=detail,
    )


def _verdict(objective: Objective, measured: float | None, shown: str, unknown: bool) -> tuple[Verdict, str]:
    """Return verdict and detail.

    `unknown`: `measured` is a lower bound. It can break an upper limit or meet a lower one, but not the reverse.
    """
    if measured is None:
        return Verdict.ERROR, "nothing was measured"
    holds = objective.holds(measured)
    if unknown and holds == objective.is_upper_bound:
        return Verdict.ERROR, f"at least {shown}: undecided, as some requests got no response"
    return (Verdict.PASS if holds else Verdict.FAIL), (f"at least {shown}" if unknown else shown)


def is_lost(objectives: tuple[Objective, ...], outcome: EngineResult) -> bool:
    """Report whether an objective on latency or errors is already missed; always False before 100 requests."""
    counts = count_requests(outcome.endpoints)  # requests in flight have not failed
    if counts.scheduled < _ENOUGH_TO_GIVE_UP:
        return False
    distributions = distributions_of(outcome)
    early = [o for o in objectives if o.kind != "rps" and o.is_upper_bound]
    return any(judge(o, distributions, counts, 0.0).verdict is Verdict.FAIL for o in early)
