"""Build the report from the measurements: counts, distributions, series."""

import os
import platform
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from toombos_cli import __version__
from toombos_cli.base.redaction import Redactor
from toombos_cli.base.text import one_line
from toombos_cli.load.engine import hdr, histogram
from toombos_cli.load.engine.failures import FAULT_OF, Fault
from toombos_cli.load.engine.histogram import Buckets, Distribution
from toombos_cli.load.engine.recorder import CENSORED, EndpointResult, EngineResult
from toombos_cli.load.engine.request_bytes import header_values
from toombos_cli.load.engine.timeline import Timeline
from toombos_cli.load.generator_check import judge_generator
from toombos_cli.load.plan import LoadPlan, LoadRequest
from toombos_cli.load.report import (
    BaselineResult,
    Counts,
    EndpointPoint,
    EndpointSummary,
    ErrorGroup,
    LatencyReport,
    LatencySummary,
    LoadReport,
    Machine,
    ObjectiveResult,
    PlanSummary,
    Point,
    Run,
    ServerSample,
    ServerUse,
    UnmetExpectation,
)
from toombos_cli.load.server_use import Observed

_SHORTEST_SAMPLE_NS = 300_000_000  # CPU usage over a shorter interval means little
_LONG_WAIT_NS = 1_000_000_000  # between the first sample and the first request: for workers to connect, say
_SAMPLE_CHARS = 200
_MOST_ENDPOINT_POINTS = 60
"""The number of intervals for one request of a mix, as a rare one has no percentiles in short intervals."""
_PERCENTS = (0.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0)


def build_report(
    plan: LoadPlan,
    outcome: EngineResult,
    *,
    argv: tuple[str, ...],
    servers: tuple[ServerUse, ...] = (),
    slo: tuple[ObjectiveResult, ...] = (),
    baseline: BaselineResult | None = None,
    notes: tuple[str, ...] = (),
) -> LoadReport:
    """Return the report of a finished run."""
    duration_s = outcome.duration_s
    counts = count_requests(outcome.endpoints, outcome)
    distributions = distributions_of(outcome.endpoints, outcome.connect)
    return LoadReport(
        run=Run(
            id=secrets.token_hex(6),
            argv=argv,
            version=__version__,
            host=platform.node(),
            machine=this_machine(),
            started_at=(datetime.now(UTC) - timedelta(seconds=duration_s)).isoformat(timespec="milliseconds"),
            duration_s=duration_s,
            sending_s=outcome.sending_s,
            drain_s=outcome.drain_s,
            interrupted_by=outcome.interrupted_by,
            target_lost=outcome.target_lost,
        ),
        plan=_plan_summary(plan),
        counts=counts,
        latency_us=LatencyReport(**{name: _summary(found) for name, found in distributions.items()}),
        throughput_rps=throughput_rps(outcome.endpoints, outcome),
        ok_rps=throughput_rps(outcome.endpoints, outcome, successes=True),
        sent_rps=outcome.sent_in_time / outcome.sending_s if outcome.scheduled else None,
        status=count_statuses(outcome.endpoints),
        failed_status=count_statuses(outcome.endpoints, failures=True),
        samples=_samples(plan, outcome.endpoints),
        errors=_errors(outcome.endpoints),
        unmet=_unmet(outcome.endpoints),
        interval_s=outcome.timeline.interval_ns / 1e9,
        series=_series(outcome),
        server=servers,
        generator=judge_generator(plan, outcome),
        slo=slo,
        baseline=baseline,
        endpoints={
            result.name: _endpoint(request, result, outcome)
            for request, result in zip(plan.endpoints, outcome.endpoints, strict=True)
        },
        notes=notes,
        distribution=_spectrum(distributions["response"].all),
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


def this_machine() -> Machine:
    """Return what the figures of a run depend on besides the target."""
    import psutil

    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}, Python {platform.python_version()}",
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        load_1m=round(os.getloadavg()[0], 2),
    )


def _endpoint(request: LoadRequest, result: EndpointResult, outcome: EngineResult) -> EndpointSummary:
    while len(result.timeline.intervals) > _MOST_ENDPOINT_POINTS:
        result.timeline.coarsen()
    return EndpointSummary(
        method=request.method,
        path=request.path,
        counts=count_requests([result]),
        throughput_rps=throughput_rps([result], outcome),
        ok_rps=throughput_rps([result], outcome, successes=True),
        status=count_statuses([result]),
        response=_summary(distributions_of([result])["response"]),
        events=result.events,
        interval_s=result.timeline.interval_ns / 1e9,
        series=_endpoint_series(result.timeline),
    )


def _endpoint_series(line: Timeline) -> tuple[EndpointPoint, ...]:
    step_s = line.interval_ns / 1e9
    points = []
    for index, interval in enumerate(line.intervals):
        p50, p95, p99 = _measured(interval.response, (50, 95, 99))
        points.append(
            EndpointPoint(t=round(index * step_s, 3), ok=interval.ok, err=interval.err, p50=p50, p95=p95, p99=p99)
        )
    return tuple(points)


def _samples(plan: LoadPlan, results: list[EndpointResult]) -> dict[str, str]:
    """Return the start of the first error response of each status, with the secrets of the requests masked."""
    redactor = Redactor(found for endpoint in plan.endpoints for found in header_values(endpoint.request))
    first: dict[int, bytes] = {}
    for result in results:
        first = result.samples | first
    said = {}
    for status, body in sorted(first.items()):
        # Shorten after masking, so that no part of a secret is left.
        text = redactor.text(body.decode("utf-8", "replace"))
        if sample := one_line(text, limit=_SAMPLE_CHARS):
            said[str(status)] = sample
    return said


def _errors(results: list[EndpointResult]) -> tuple[ErrorGroup, ...]:
    groups = [
        ErrorGroup(
            {
                "class": failure.error_class,
                "fault": FAULT_OF[failure.error_class].value,
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


def _unmet(results: list[EndpointResult]) -> tuple[UnmetExpectation, ...]:
    found = [
        UnmetExpectation(
            endpoint=result.name,
            expected=expected,
            got=one_line(failed.sample, limit=_SAMPLE_CHARS),
            count=failed.count,
            first_at=round(failed.first_at_ns / 1e9, 3),
        )
        for result in results
        for expected, failed in result.unmet.items()
    ]
    return tuple(sorted(found, key=lambda one: -one.count))


def _series(outcome: EngineResult) -> tuple[Point, ...]:
    step_s = outcome.timeline.interval_ns / 1e9
    points = []
    for index, interval in enumerate(outcome.timeline.intervals):
        p50, p95, p99 = _measured(interval.response, (50, 95, 99))
        points.append(
            Point(
                t=round(index * step_s, 3),
                sent=interval.sent,
                ok=interval.ok,
                err=interval.err,
                p50=p50,
                p95=p95,
                p99=p99,
                inflight=interval.inflight,
                lag_p99=_measured(interval.lag, (99,))[0],
            )
        )
    return tuple(points)


def server_uses(plan: LoadPlan, servers: Iterable[Observed], outcome: EngineResult) -> tuple[ServerUse, ...]:
    """Return what each of the servers used under load."""
    answered = sum(count_statuses(outcome.endpoints).values())
    is_warm = plan.warmup_s > 0
    return tuple(
        _server_use(server, outcome, answered, is_warm=is_warm) for server in servers if len(server.samples) > 1
    )


def _server_use(server: Observed, outcome: EngineResult, answered: int, *, is_warm: bool) -> ServerUse:
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
        if before.at_ns < outcome.ended_ns
    )
    worked_before = is_warm or outcome.started_ns - server.samples[0].at_ns > _LONG_WAIT_NS
    begin_s = server.cpu_at(outcome.started_ns) if worked_before else server.samples[0].cpu_s
    cpu_s = max(0.0, server.samples[-1].cpu_s - begin_s)
    # A server has next to nothing to do before the first request and after the last one.
    sending_s = max(0.0, server.cpu_after(outcome.sending_ended_ns) - begin_s)
    return ServerUse(
        name=server.name,
        pid=server.pid,
        cpu_percent=(
            round(sending_s / min(outcome.sending_s, outcome.duration_s) * 100, 1) if outcome.scheduled else None
        ),
        cpu_ms_per_request=round(cpu_s * 1000 / answered, 4) if answered else None,
        cpu_s=round(cpu_s, 3),
        rss_max_bytes=max(sample.rss_bytes for sample in server.samples),
        series=series,
    )


def count_requests(results: list[EndpointResult], outcome: EngineResult | None = None) -> Counts:
    """Count the requests of these endpoints.

    With `outcome`, `scheduled` and `dropped` are those of the whole run; without, of these endpoints.
    """
    ok = http_error = transport = censored = 0
    by_fault = dict.fromkeys(Fault, 0)
    for result in results:
        for answer, latencies in result.by_status.items():
            answers = histogram.count(latencies.service)
            if answer.ok:
                ok += answers
            else:
                http_error += answers
        for failure, found in result.failures.items():
            if failure.error_class in CENSORED:
                censored += found.count
            else:
                transport += found.count
            by_fault[FAULT_OF[failure.error_class]] += found.count
    return Counts(
        scheduled=outcome.scheduled if outcome else ok + http_error + transport + censored,
        ok=ok,
        http_error=http_error,
        transport_error=transport,
        censored=censored,
        dropped=outcome.dropped if outcome else 0,
        network_fault=by_fault[Fault.NETWORK],
        machine_fault=by_fault[Fault.MACHINE],
        retried=sum(result.retried for result in results),
    )


def throughput_rps(results: list[EndpointResult], outcome: EngineResult, *, successes: bool = False) -> float | None:
    """Return the responses, or the successful ones, that came while load was sent, divided by that time.

    Return None if no load was sent.
    """
    if not outcome.scheduled:
        return None
    answers = (count for result in results for answer, count in result.in_time.items() if answer.ok or not successes)
    return sum(answers) / outcome.sending_s


def settled_counts(results: list[EndpointResult], outcome: EngineResult) -> Counts:
    """Return the counts of all endpoints, or some, without what an early end cut off: it might have succeeded."""
    found = count_requests(results, outcome if results is outcome.endpoints else None)
    if not (outcome.aborted or outcome.interrupted_by):
        return found
    failures = [item for result in results for item in result.failures.items()]
    cut_off = sum(lost.count for failure, lost in failures if failure.error_class == "unfinished")
    return replace(found, scheduled=found.scheduled - cut_off, censored=found.censored - cut_off)


def count_statuses(results: list[EndpointResult], *, failures: bool = False) -> dict[str, int]:
    """Return the number of responses, or of those without success, for each status in ascending order."""
    found: dict[int, int] = {}
    for result in results:
        for answer, latencies in result.by_status.items():
            if not (failures and answer.ok):
                found[answer.status] = found.get(answer.status, 0) + histogram.count(latencies.service)
    return {str(status): count for status, count in sorted(found.items())}


def distributions_of(results: list[EndpointResult], connect: Buckets | None = None) -> dict[str, Distribution]:
    """Return the latencies of these endpoints under their names in the report: response, service, ttfb and ok.

    `connect` holds the times of the run's connections, which belong to no endpoint.
    """
    answers = [latencies for result in results for latencies in result.by_status.values()]
    successes = [latencies for result in results for answer, latencies in result.by_status.items() if answer.ok]
    never = [result.censored for result in results]
    return {
        "response": Distribution(
            histogram.merged(a.response for a in answers), histogram.merged(c.response for c in never)
        ),
        "service": Distribution(
            histogram.merged(a.service for a in answers), histogram.merged(c.service for c in never)
        ),
        "connect": Distribution(connect or {}, {}),
        "ttfb": Distribution(histogram.merged(a.first_byte for a in answers), {}),
        "ok": Distribution(histogram.merged(a.response for a in successes), {}),
    }


def _summary(distribution: Distribution) -> LatencySummary:
    """Return the figures of a distribution for the report."""
    everything = distribution.all
    least, p50, p75, p90, p95, p99, p99_9, p99_99, top = _measured(everything, _PERCENTS)
    return LatencySummary(
        count=histogram.count(everything),
        censored=histogram.count(distribution.censored),
        min=least,
        p50=p50,
        p75=p75,
        p90=p90,
        p95=p95,
        p99=p99,
        p99_9=p99_9,
        p99_99=p99_99,
        max=top,
        mean=round(histogram.mean(everything), 1) if everything else None,
        hdr_v2=hdr.encode_v2(everything),
    )


def _measured(buckets: Buckets, percents: tuple[float, ...]) -> tuple[int | None, ...]:
    """Return the percentiles, each None if there are no samples."""
    return histogram.percentiles(buckets, percents) if buckets else (None,) * len(percents)


def _spectrum(buckets: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
    """Return (lowest value, count) of buckets 1.6 % wide, ascending, for a chart of the distribution."""
    return tuple(sorted(histogram.coarse(buckets).items()))
