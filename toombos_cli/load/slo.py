"""Service level objectives: their syntax (`p99<800ms, error_rate<1%`), and whether a run met them.

    objective  = metric comparison value
    metric     = [ "response." | "service." | "ttfb." | "ok." ] percentile [ request ]   (p50, p99.9, ..., max, mean)
               | "connect." percentile
               | ( "error_rate" | "checks" | "rps" | "ok_rps" ) [ request ]
               | server ( ".cpu" | ".rss" )
    request    = "{" name of a request of the mix "}"
    comparison = "<" | "<=" | ">" | ">="
    value      = duration (us, ms, s, m) for latencies, number or percent for error_rate and checks, number for rates,
                 percent of one core for cpu, bytes (kB, MB, GB, KiB, MiB, GiB) for rss

A percentile without a prefix refers to the response time: how long a user waits. `ok.` means successes alone.
`checks` is the share of the requests with expectations that met them.
"""

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from toombos_cli.base.errors import UsageError
from toombos_cli.base.results import Verdict
from toombos_cli.base.text import UNITS_S
from toombos_cli.load.build_report import count_requests, distributions_of, settled_counts, throughput_rps
from toombos_cli.load.engine import histogram
from toombos_cli.load.engine.histogram import Distribution
from toombos_cli.load.engine.recorder import EndpointResult, EngineResult
from toombos_cli.load.options import LoadOptions
from toombos_cli.load.report import Counts, ObjectiveKind, ObjectiveResult, ServerUse

Measured = Literal["response", "service", "connect", "ttfb", "ok"]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_METRIC = re.compile(
    r"(?:(?P<distribution>response|service|connect|ttfb|ok)\.)?"
    r"(?:p(?P<percent>\d{1,3}(?:\.\d+)?)|(?P<figure>max|mean))(?![\w.:-])"
    r"|(?P<kind>error_rate|checks|rps|ok_rps)(?![\w.:-])"
    r"|(?P<server>[^\s,<>={}]+)\.(?P<use>cpu|rss)"
)
_REQUEST = re.compile(r"\{([^{}]*)\}")
_COMPARISON = re.compile(r"<=|>=|<|>")
_ENOUGH_TO_GIVE_UP = 100
_VALUE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]+|%)?")
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_UNIT = {
    "latency": "a unit: us, ms, s or m",
    "error_rate": "a number or percent",
    "checks": "a number or percent",
    "rps": "a bare number",
    "ok_rps": "a bare number",
    "cpu": "percent of one core",
    "rss": f"a unit: {', '.join(_BYTES)}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One objective. The unit of `limit` depends on `kind`: see ObjectiveResult.

    `percent` is 100 for the maximum and None for the mean. `endpoint` names a request of the mix, `server` a server.
    """

    text: str
    kind: ObjectiveKind
    distribution: Measured = "response"
    percent: float | None = None
    endpoint: str | None = None
    server: str | None = None
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
    if not metric or (metric["percent"] and not 0 < float(metric["percent"]) <= 100):
        expected = "p50 ... p99.99, max, mean, error_rate, checks, rps, ok_rps, SERVICE.cpu or SERVICE.rss"
        raise _error(text, position, f"expected a metric: {expected}")
    kind = cast(ObjectiveKind, metric["kind"] or metric["use"] or "latency")
    position = _skip_blanks(text, metric.end())
    endpoint = _REQUEST.match(text, position)
    if endpoint:
        if metric["server"] or metric["distribution"] == "connect":
            raise _error(text, position, "a connection or server does not belong to one request")
        position = _skip_blanks(text, endpoint.end())
    comparison = _COMPARISON.match(text, position)
    if not comparison:
        raise _error(text, position, "expected <, <=, > or >=")
    position = _skip_blanks(text, comparison.end())
    value = _VALUE.match(text, position)
    if not value:
        raise _error(text, position, "expected a number")
    limit = _limit(kind, float(value[1]), value[2])
    if limit is None:
        raise _error(text, value.end(1), f"expected {_UNIT[kind]}")
    objective = Objective(
        text=text[begin : value.end()],
        kind=kind,
        distribution=cast(Measured, metric["distribution"] or "response"),
        percent=float(metric["percent"]) if metric["percent"] else 100.0 if metric["figure"] == "max" else None,
        endpoint=endpoint[1].strip() if endpoint else None,
        server=metric["server"],
        comparison=comparison[0],
        limit=limit,
    )
    return objective, value.end()


def _limit(kind: ObjectiveKind, number: float, unit: str | None) -> float | None:
    """Return the value in the unit of its kind, or None if the unit does not fit."""
    match kind:
        case "latency":
            return number * UNITS_S[unit] * 1e6 if unit in UNITS_S else None
        case "error_rate" | "checks":
            return number / 100 if unit == "%" else number if unit is None else None
        case "rps" | "ok_rps":
            return number if unit is None else None
        case "cpu":
            return number if unit == "%" else None
        case "rss":
            return number * _BYTES[unit] if unit in _BYTES else None


def _skip_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _error(text: str, position: int, message: str) -> UsageError:
    return UsageError(f"{message} at position {position + 1}\n  {text}\n  {' ' * position}^", where="--slo")


def check_objectives(
    objectives: tuple[Objective, ...],
    *,
    requests: Iterable[str],
    servers: Iterable[str],
    checked: frozenset[str] = frozenset(),
) -> None:
    """Raise UsageError if an objective names a request or server that there is not, or judges checks without any.

    `checked` are the requests with expectations.
    """
    known = {"request": set(requests), "server": set(servers)}
    for objective in objectives:
        for kind, name in (("request", objective.endpoint), ("server", objective.server)):
            if name is not None and name not in known[kind]:
                raise UsageError(
                    f"no {kind} {name!r} in this run",
                    where=f"--slo {objective.text}",
                    hint=f"use one of: {', '.join(sorted(known[kind]))}",
                )
        if objective.kind == "checks" and not (
            checked if objective.endpoint is None else objective.endpoint in checked
        ):
            raise UsageError(
                "nothing is checked: no request has expectations",
                where=f"--slo {objective.text}",
                hint="write --expect-status 200, or expect = { status = 200 } in a scenario",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What objectives are judged by: the figures of all requests, or of one request of the mix."""

    distributions: dict[str, Distribution]
    counts: Counts
    throughput_rps: float | None = None
    ok_rps: float | None = None
    checks: float | None = None
    """The share of the requests with expectations that met them; None if there were none."""


def judge_all(
    objectives: tuple[Objective, ...],
    outcome: EngineResult,
    servers: tuple[ServerUse, ...] = (),
    *,
    checked: frozenset[str] = frozenset(),
) -> tuple[ObjectiveResult, ...]:
    """Return whether each objective was met by a run that has ended. `checked` are the requests with expectations."""
    uses = {server.name: server for server in servers}
    whole = _figures_of(outcome.endpoints, outcome, checked)
    parts = {result.name: _figures_of([result], outcome, checked) for result in outcome.endpoints}
    return tuple(
        judge(o, whole if o.endpoint is None else parts[o.endpoint], uses.get(o.server or "")) for o in objectives
    )


def _figures_of(results: list[EndpointResult], outcome: EngineResult, checked: frozenset[str]) -> Figures:
    is_whole = results is outcome.endpoints
    return Figures(
        distributions=distributions_of(results, outcome.connect if is_whole else None),
        counts=settled_counts(results, outcome),
        throughput_rps=throughput_rps(results, outcome),
        ok_rps=throughput_rps(results, outcome, successes=True),
        checks=_share_of_checks(results, outcome, checked),
    )


def _share_of_checks(results: list[EndpointResult], outcome: EngineResult, checked: frozenset[str]) -> float | None:
    """Return the share of the requests that met their expectations; a failure of the server meets none."""
    found = [result for result in results if result.name in checked]
    counts = settled_counts(found, outcome)
    followed = sum(result.followed for result in found)
    return (counts.ok - followed) / (counts.judged - followed) if counts.judged > followed else None


def judge(objective: Objective, figures: Figures, server: ServerUse | None = None) -> ObjectiveResult:
    """Return the verdict on the objective; ERROR if requests without a response leave it undecided."""
    measured, shown, unknown = _measured(objective, figures, server)
    verdict, detail = _verdict(objective, measured, shown, unknown)
    return ObjectiveResult(
        objective=objective.text,
        kind=objective.kind,
        distribution=objective.distribution if objective.kind == "latency" else None,
        endpoint=objective.endpoint,
        server=objective.server,
        verdict=verdict,
        measured=measured,
        limit=objective.limit,
        detail=detail,
    )


def _measured(objective: Objective, figures: Figures, server: ServerUse | None) -> tuple[float | None, str, bool]:
    """Return the measured value or None, the value as text, and whether it is a lower bound."""
    match objective.kind:
        case "error_rate":
            counts = figures.counts
            return (counts.error_rate, f"{counts.error_rate:.3%}", False) if counts.judged else (None, "", False)
        case "checks":
            return figures.checks, "" if figures.checks is None else f"{figures.checks:.3%}", False
        case "rps" | "ok_rps":
            rate = figures.ok_rps if objective.kind == "ok_rps" else figures.throughput_rps
            return rate, f"{rate:.1f} rps" if rate is not None else "", False
        case "cpu":
            percent = server.cpu_percent if server else None
            return percent, f"{percent:.0f} %" if percent is not None else "", False
        case "rss":
            return (
                (server.rss_max_bytes, f"{server.rss_max_bytes / 1e6:.0f} MB", False) if server else (None, "", False)
            )
        case "latency":
            return _measured_latency(objective, figures.distributions[objective.distribution])


def _measured_latency(objective: Objective, found: Distribution) -> tuple[float | None, str, bool]:
    if not histogram.count(found.all):
        return None, "", False
    if objective.percent is None:
        value, unknown = histogram.mean(found.all), bool(found.censored)
    else:
        value, unknown = found.at(objective.percent), found.reaches_censored(objective.percent)
    return value, f"{value / 1000:.3f} ms", unknown


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


def is_lost(objectives: tuple[Objective, ...], outcome: EngineResult, *, checked: frozenset[str] = frozenset()) -> bool:
    """Report whether an objective on latency, errors or checks is already missed; always False before 100 requests."""
    early = [
        o
        for o in objectives
        if (o.kind in ("latency", "error_rate") and o.is_upper_bound) or (o.kind == "checks" and not o.is_upper_bound)
    ]
    for objective in early:
        results = [r for r in outcome.endpoints if objective.endpoint in (None, r.name)]
        counts = count_requests(results)  # requests in flight have not failed
        if counts.scheduled < _ENOUGH_TO_GIVE_UP:
            continue
        figures = Figures(
            distributions=distributions_of(results, outcome.connect),
            counts=counts,
            checks=_share_of_checks(results, outcome, checked),
        )
        if judge(objective, figures).verdict is Verdict.FAIL:
            return True
    return False
