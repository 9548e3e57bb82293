"""Turns what was measured into the report: figures, validity of the instrument, objectives."""

import platform
import secrets
import textwrap
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from toombos_cli.load import histogram
from toombos_cli.load.baseline import BaselineResult, BaselineRun
from toombos_cli.load.plan import LoadPlan
from toombos_cli.load.recorder import CENSORED, EndpointResult, Outcome
from toombos_cli.load.report import (
    Counts,
    EndpointSummary,
    ErrorGroup,
    Generator,
    Latencies,
    LoadReport,
    PlanSummary,
    Point,
    Run,
    ServerSample,
    ServerUse,
)
from toombos_cli.load.requests import header_values
from toombos_cli.load.server_use import Observed
from toombos_cli.load.slo import Objective, ObjectiveResult
from toombos_cli.load.summary import Distribution, spectrum
from toombos_cli.redaction import Redactor
from toombos_cli.results import Verdict

# Beyond these the instrument's own delays are no longer small beside what it measures.
_BUSY_PERCENT = 90.0
_LAG_P99_US = 50_000
_LAG_MAX_US = 400_000
_LEAST_ACHIEVED = 0.98
_LONG_ENOUGH_FOR_CPU_S = 0.5
_ENOUGH_TO_GIVE_UP = 100
_SHORTEST_SAMPLE_NS = 300_000_000  # the share of a CPU that is used in an instant says little
_SAMPLE_CHARS = 200


def assemble(
    plan: LoadPlan,
    outcome: Outcome,
    *,
    argv: tuple[str, ...],
    servers: Iterable[Observed] = (),
    objectives: tuple[Objective, ...] = (),
    baseline: BaselineResult | None = None,
    notes: tuple[str, ...] = (),
) -> LoadReport:
    """The report of a finished run."""
    duration_s = max((outcome.ended_ns - outcome.started_ns) / 1e9, 1e-9)
    counts = _counts(outcome.endpoints, outcome)
    settled = _settled(counts, outcome)
    answered = counts.ok + counts.http_error
    distributions = _distributions(outcome)
    throughput = answered / duration_s
    return LoadReport(
        run=Run(
            id=secrets.token_hex(6),
            argv=argv,
            host=platform.node(),
            started_at=(datetime.now(UTC) - timedelta(seconds=duration_s)).isoformat(timespec="milliseconds"),
            duration_s=duration_s,
            interrupted_by=outcome.interrupted_by,
        ),
        plan=_plan_summary(plan),
        counts=counts,
        latency_us=Latencies(**{name: found.summary() for name, found in distributions.items()}),
        throughput_rps=throughput,
        status=_statuses(outcome.endpoints),
        samples=_samples(plan, outcome.endpoints),
        errors=_errors(outcome.endpoints),
        interval_s=outcome.timeline.interval_ns / 1e9,
        series=_series(outcome),
        server=tuple(_server_use(server, outcome, answered) for server in servers if len(server.samples) > 1),
        generator=_generator(plan, outcome, duration_s),
        slo=tuple(_judge(objective, distributions, settled, throughput) for objective in objectives),
        baseline=baseline,
        endpoints={result.name: _endpoint(result) for result in outcome.endpoints},
        notes=notes,
        distribution=spectrum(distributions["response"].all),
    )


def baseline_run(outcome: Outcome) -> BaselineRun:
    """The figures of a run that baselines compare."""
    response = _distributions(outcome)["response"]
    counts = _settled(_counts(outcome.endpoints, outcome), outcome)
    p50, p95, p99 = histogram.percentiles(response.all, (50, 95, 99))
    return BaselineRun(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        p50_us=p50,
        p95_us=p95,
        p99_us=p99,
        error_rate=counts.error_rate,
        throughput_rps=(counts.ok + counts.http_error) / max((outcome.ended_ns - outcome.started_ns) / 1e9, 1e-9),
    )


def _plan_summary(plan: LoadPlan) -> PlanSummary:
    rates = {rate for stage in plan.stages for rate in (stage.start_rps, stage.end_rps)}
    return PlanSummary(
        url=plan.target.url,
        address=plan.target.address,
        mode=plan.mode,
        rate=rates.pop() if len(rates) == 1 else None,
        stages=tuple((s.duration_s, s.start_rps, s.end_rps) for s in plan.stages),
        arrival=plan.arrival,
        requests=plan.requests,
        duration_s=plan.planned_s,
        connections=plan.max_connections if plan.mode == "open" else plan.connections,
        warmup_s=plan.warmup_s,
        timeout_s=plan.timeout_s,
        drain_s=plan.drain_s,
        keepalive=plan.keepalive,
        processes=plan.processes,
    )


def _counts(results: list[EndpointResult], outcome: Outcome | None = None) -> Counts:
    """The counts of these endpoints; `scheduled` and `dropped` of the whole run, or what the endpoints add up to."""
    ok = http_error = transport = censored = 0
    for result in results:
        for status, latencies in result.by_status.items():
            answers = histogram.count(latencies.service)
            if status < 400:
                ok += answers
            else:
                http_error += answers
        for failure, found in result.failures.items():
            if failure.error_class in CENSORED:
                censored += found.count
            else:
                transport += found.count
    return Counts(
        scheduled=outcome.scheduled if outcome else ok + http_error + transport + censored,
        ok=ok,
        http_error=http_error,
        transport_error=transport,
        censored=censored,
        dropped=outcome.dropped if outcome else 0,
    )


def _settled(counts: Counts, outcome: Outcome) -> Counts:
    """The counts without what the early end of a run cut off: those requests might have succeeded."""
    if not (outcome.aborted or outcome.interrupted_by):
        return counts
    failures = [item for result in outcome.endpoints for item in result.failures.items()]
    cut_off = sum(found.count for failure, found in failures if failure.error_class == "unfinished")
    return replace(counts, scheduled=counts.scheduled - cut_off, censored=counts.censored - cut_off)


def _distributions(outcome: Outcome) -> dict[str, Distribution]:
    results = outcome.endpoints
    answers = [latencies for result in results for latencies in result.by_status.values()]
    successes = [latencies for result in results for status, latencies in result.by_status.items() if status < 400]
    never = [result.censored for result in results]
    return {
        "response": Distribution(
            histogram.merged(a.response for a in answers), histogram.merged(c.response for c in never)
        ),
        "service": Distribution(
            histogram.merged(a.service for a in answers), histogram.merged(c.service for c in never)
        ),
        "connect": Distribution(outcome.connect, {}),
        "ttfb": Distribution(histogram.merged(a.first_byte for a in answers), {}),
        "ok": Distribution(histogram.merged(a.response for a in successes), {}),
    }


def _endpoint(result: EndpointResult) -> EndpointSummary:
    answers = result.by_status.values()
    response = Distribution(histogram.merged(a.response for a in answers), result.censored.response)
    return EndpointSummary(counts=_counts([result]), status=_statuses([result]), response=response.summary())


def _statuses(results: list[EndpointResult]) -> dict[str, int]:
    found: dict[int, int] = {}
    for result in results:
        for status, latencies in result.by_status.items():
            found[status] = found.get(status, 0) + histogram.count(latencies.service)
    return {str(status): count for status, count in sorted(found.items())}


def _samples(plan: LoadPlan, results: list[EndpointResult]) -> dict[str, str]:
    """What the first answer of each status that tells of an error said; secrets that came with a request are masked."""
    redactor = Redactor(found for endpoint in plan.endpoints for found in header_values(endpoint.request))
    first: dict[int, bytes] = {}
    for result in results:
        first = result.samples | first
    said = {}
    for status, body in sorted(first.items()):
        # Shortened last, so that no half of a secret is left.
        text = redactor.text(body.decode("utf-8", "replace"))
        words = "".join(c if c.isprintable() else " " for c in text).split()
        if words:
            said[str(status)] = textwrap.shorten(" ".join(words), _SAMPLE_CHARS, placeholder=" ...")
    return said


def _errors(results: list[EndpointResult]) -> tuple[ErrorGroup, ...]:
    groups = [
        ErrorGroup(
            {
                "class": failure.error_class,
                "phase": failure.phase,
                "errno": failure.errno,
                "count": found.count,
                "first_at": round(found.first_at_ns / 1e9, 3),
                "sample": found.sample,
                "endpoint": result.name,
            }
        )
        for result in results
        for failure, found in result.failures.items()
    ]
    return tuple(sorted(groups, key=lambda group: -group["count"]))


def _series(outcome: Outcome) -> tuple[Point, ...]:
    step_s = outcome.timeline.interval_ns / 1e9
    points = []
    for index, interval in enumerate(outcome.timeline.intervals):
        p50, p99 = histogram.percentiles(interval.response, (50, 99))
        points.append(
            Point(
                t=round(index * step_s, 3),
                sent=interval.sent,
                ok=interval.ok,
                err=interval.err,
                p50=p50,
                p99=p99,
                inflight=interval.inflight,
                lag_p99=histogram.percentiles(interval.lag, (99,))[0],
            )
        )
    return tuple(points)


def _server_use(server: Observed, outcome: Outcome, answered: int) -> ServerUse:
    samples = server.samples
    if len(samples) > 2 and samples[-1].at_ns - samples[-2].at_ns < _SHORTEST_SAMPLE_NS:
        samples = samples[:-1]
    series = tuple(
        ServerSample(
            t=round((now.at_ns - outcome.started_ns) / 1e9, 3),
            cpu_percent=round(
                max(0.0, now.cpu_s - before.cpu_s) / max((now.at_ns - before.at_ns) / 1e9, 1e-3) * 100, 1
            ),
            rss_bytes=now.rss_bytes,
            open_files=now.open_files,
            processes=now.processes,
        )
        for before, now in pairwise(samples)
    )
    cpu_s = max(0.0, server.samples[-1].cpu_s - server.samples[0].cpu_s)
    return ServerUse(
        name=server.name,
        pid=server.pid,
        cpu_ms_per_request=round(cpu_s * 1000 / answered, 4) if answered else None,
        cpu_s=round(cpu_s, 3),
        rss_max_bytes=max(sample.rss_bytes for sample in server.samples),
        series=series,
    )


def _generator(plan: LoadPlan, outcome: Outcome, duration_s: float) -> Generator:
    p99, top = histogram.percentiles(outcome.lag, (99, 100)) if outcome.lag else (None, None)
    cpu_percent = outcome.cpu_s / duration_s * 100
    scheduled = outcome.scheduled
    achieved = outcome.sent_in_time / scheduled if plan.mode == "open" and scheduled else 1.0
    reasons = []
    if cpu_percent >= _BUSY_PERCENT * plan.processes and duration_s >= _LONG_ENOUGH_FOR_CPU_S:
        reasons.append(
            f"the generator used {cpu_percent:.0f} % CPU in {plan.processes} process(es): it could not go faster"
        )
    if p99 is not None and p99 > _LAG_P99_US:
        reasons.append(f"1 % of its work was late by {p99 / 1000:.0f} ms or more")
    if top is not None and top > _LAG_MAX_US:
        reasons.append(f"it was held up for {top / 1000:.0f} ms")
    if achieved < _LEAST_ACHIEVED:
        reasons.append(f"only {achieved:.1%} of the requests could be sent in time, for all connections were busy")
    return Generator(
        cpu_percent=round(cpu_percent, 1),
        cpu_us_per_request=round(outcome.cpu_s * 1e6 / scheduled, 2) if scheduled else 0.0,
        lag_p99_us=p99,
        lag_max_us=top,
        achieved_ratio=round(achieved, 4),
        connections=outcome.connections,
        valid=not reasons,
        reasons=tuple(reasons),
    )


def is_lost(objectives: tuple[Objective, ...], outcome: Outcome) -> bool:
    """Whether an objective on latency or errors is missed already; too little to judge is not lost."""
    counts = _counts(outcome.endpoints)  # what is under way has not failed
    if counts.scheduled < _ENOUGH_TO_GIVE_UP:
        return False
    distributions = _distributions(outcome)
    early = [o for o in objectives if o.kind != "rps" and o.is_upper_bound]
    return any(_judge(o, distributions, counts, 0.0).verdict is Verdict.FAIL for o in early)


def _judge(
    objective: Objective, distributions: dict[str, Distribution], counts: Counts, throughput_rps: float
) -> ObjectiveResult:
    """Whether the objective is met; ERROR where requests without an answer leave it open."""
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
    """`unknown`: `measured` is a lower bound. It can break an upper limit or meet a lower one, but not the reverse."""
    if measured is None:
        return Verdict.ERROR, "nothing was measured"
    holds = objective.holds(measured)
    if unknown and holds == objective.is_upper_bound:
        return Verdict.ERROR, f"at least {shown}: requests that were never answered leave it open"
    return (Verdict.PASS if holds else Verdict.FAIL), (f"at least {shown}" if unknown else shown)
