"""Baselines: the figures of earlier runs of the same plan, and whether a new run is significantly worse.

A baseline file collects runs (`--save-baseline` adds one). With three or more, a figure is a regression if it is
outside the one-sided 99 % prediction interval for one more run, mean + t * s * sqrt(1 + 1/n) (Student's t, n - 1
degrees of freedom), and at least 10 % worse than the mean. With fewer runs the spread is unknown, and twice the mean
is allowed.
"""

import statistics
from collections.abc import Mapping
from datetime import UTC, datetime
from math import sqrt
from pathlib import Path

import msgspec

from toombos_cli.base.errors import ConfigurationError, OperationError, UsageError
from toombos_cli.base.files import replace_file
from toombos_cli.base.own_records import encode_own, read_own
from toombos_cli.base.results import Verdict
from toombos_cli.base.untrusted import UntrustedError
from toombos_cli.load.build_report import distributions_of, settled_counts, throughput_rps
from toombos_cli.load.engine import histogram
from toombos_cli.load.engine.recorder import EngineResult
from toombos_cli.load.plan import LoadPlan
from toombos_cli.load.report import BaselineResult, Comparison

SCHEMA = "toombos.load.baseline/1"
ENOUGH_RUNS = 3
_KEPT_RUNS = 20
_LEAST_CHANGE = 0.10
_UNKNOWN_SPREAD = 2.0
# Smaller changes come from the clock and the scheduler, not from the server.
_FLOOR = {"p50_us": 200.0, "p95_us": 500.0, "p99_us": 1000.0, "error_rate": 0.002, "throughput_rps": 0.0}
# Student's t, one-sided 0.99, by degrees of freedom from 2 on.
_T99 = (
    6.965,
    4.541,
    3.747,
    3.365,
    3.143,
    2.998,
    2.896,
    2.821,
    2.764,
    2.718,
    2.681,
    2.650,
    2.624,
    2.602,
    2.583,
    2.567,
    2.552,
    2.539,
)


class BaselineRun(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one run: response time percentiles in microseconds, error rate, responses per second."""

    at: str
    p50_us: float
    p95_us: float
    p99_us: float
    error_rate: float
    throughput_rps: float


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """A baseline file."""

    schema: str
    plan: dict[str, str | float | int | bool | None]
    runs: tuple[BaselineRun, ...]


Measured = Mapping[str, float | None]
"""The figures of a run by the names of BaselineRun; None for what was not measured."""


def measured_figures(outcome: EngineResult) -> Measured:
    """Return the figures of a run that baselines compare."""
    counts, responses = settled_counts(outcome.endpoints, outcome), distributions_of(outcome.endpoints)["response"].all
    percentiles = histogram.percentiles(responses, (50, 95, 99)) if responses else (None, None, None)
    return {
        **dict(zip(("p50_us", "p95_us", "p99_us"), percentiles, strict=True)),
        "error_rate": counts.error_rate if counts.judged else None,
        "throughput_rps": throughput_rps(outcome.endpoints, outcome),
    }


def read_baseline(path: Path, plan: LoadPlan) -> Baseline:
    """Return the baseline. Raise ConfigurationError if it is unusable, UsageError if it belongs to another plan."""
    try:
        baseline = read_own(path, Baseline, follows_link=True)
    except OSError as error:
        raise ConfigurationError(
            f"cannot be read: {error.strerror}", where=str(path), hint="create one with --save-baseline"
        ) from None
    except UntrustedError as error:
        raise ConfigurationError(
            f"not a baseline: {error}", where=str(path), hint="create one with --save-baseline"
        ) from None
    if baseline.schema != SCHEMA or not baseline.runs:
        raise ConfigurationError(
            f"not a baseline of schema {SCHEMA}", where=str(path), hint="create one with --save-baseline"
        )
    now = plan.fingerprint()
    differences = [
        f"{key}: {baseline.plan.get(key)} there, {now[key]} here" for key in now if baseline.plan.get(key) != now[key]
    ]
    if differences:
        raise UsageError(
            f"this baseline belongs to another plan ({'; '.join(differences)})",
            where=str(path),
            hint="run the same plan, or save a new baseline with --save-baseline FILE",
        )
    return baseline


def save_run(path: Path, plan: LoadPlan, figures: Measured) -> int:
    """Add a run to the file, created if missing, and return the number of runs in it (at most the latest 20).

    All figures must have been measured. The file is replaced atomically. Raise ConfigurationError, UsageError and
    OperationError.
    """
    run = msgspec.convert({"at": datetime.now(UTC).isoformat(timespec="seconds"), **figures}, BaselineRun)
    earlier = read_baseline(path, plan).runs if path.exists() else ()
    baseline = Baseline(schema=SCHEMA, plan=plan.fingerprint(), runs=(*earlier, run)[-_KEPT_RUNS:])
    text = msgspec.json.format(encode_own(baseline), indent=2)
    try:
        replace_file(path, text + b"\n", durable=True)
    except OSError as error:
        raise OperationError(f"cannot be written: {error.strerror}", where=str(path)) from None
    return len(baseline.runs)


def compare(baseline: Baseline, figures: Measured, *, path: Path, judge_throughput: bool) -> BaselineResult:
    """Compare each figure of the run with the earlier ones.

    The throughput of an open loop is not judged: it is the requested rate.
    """
    metrics = ["p50_us", "p95_us", "p99_us", "error_rate"] + (["throughput_rps"] if judge_throughput else [])
    return BaselineResult(
        path=str(path),
        runs=len(baseline.runs),
        comparisons=tuple(_compare(m, [getattr(r, m) for r in baseline.runs], figures[m]) for m in metrics),
    )


def _compare(metric: str, earlier: list[float], measured: float | None) -> Comparison:
    mean = statistics.fmean(earlier)
    sign = -1 if metric == "throughput_rps" else 1  # the only figure for which higher is better
    if len(earlier) >= ENOUGH_RUNS:
        t = _T99[min(len(earlier) - 1, len(_T99) + 1) - 2]
        spread = t * statistics.stdev(earlier) * sqrt(1 + 1 / len(earlier))
        basis = f"99 % prediction interval of {len(earlier)} runs"
    else:
        spread = mean * (_UNKNOWN_SPREAD - 1 if sign > 0 else 1 - 1 / _UNKNOWN_SPREAD)
        basis = f"a factor of 2, as {len(earlier)} run{'s' if len(earlier) > 1 else ''} cannot show the spread"
    limit = mean + sign * max(spread, mean * _LEAST_CHANGE, _FLOOR[metric])
    if measured is None:
        change, verdict, detail = None, Verdict.ERROR, "nothing was measured"
    else:
        change = (measured - mean) / mean if mean else 0.0
        verdict = Verdict.FAIL if sign * (measured - limit) > 0 else Verdict.PASS
        detail = f"{change:+.0%} from the mean; allowed: {basis}"
    return Comparison(
        metric=metric,
        measured=measured,
        mean=mean,
        limit=limit,
        change_ratio=change,
        verdict=verdict,
        detail=detail,
    )
