"""From what was measured to the figures of the report: counts of requests, and summaries of distributions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from toombos_cli.load.engine import hdr, histogram
from toombos_cli.load.engine.histogram import Buckets
from toombos_cli.load.engine.recorder import CENSORED, EndpointResult, Outcome

PERCENTS = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Every scheduled request is in exactly one of the others."""

    scheduled: int
    ok: int
    http_error: int
    transport_error: int
    censored: int
    dropped: int

    @property
    def failed(self) -> int:
        """All that did not succeed."""
        return self.scheduled - self.ok

    @property
    def error_rate(self) -> float:
        """Share of scheduled requests that did not succeed, 0..1."""
        return self.failed / self.scheduled if self.scheduled else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySummary:
    """Percentiles in microseconds, right to three digits. `censored` of the samples are lower bounds.

    `hdr_v2` is the whole distribution as an HdrHistogram V2 blob.
    """

    count: int
    censored: int
    p50: int
    p75: int
    p90: int
    p95: int
    p99: int
    p99_9: int
    p99_99: int
    max: int
    mean: float
    hdr_v2: str


@dataclass(frozen=True, slots=True)
class Distribution:
    """Samples in microseconds: those that were answered, and for the rest how long they had waited at least."""

    answered: Buckets
    censored: Buckets

    @property
    def all(self) -> Buckets:
        """Every sample, a censored one at its lower bound."""
        return histogram.merged((self.answered, self.censored))

    def at(self, percent: float) -> int:
        """The percentile; a lower bound of it where censored samples are among the highest."""
        return histogram.percentiles(self.all, (percent,))[0]

    def reaches_censored(self, percent: float) -> bool:
        """Whether the true percentile is unknown: it lies among the requests that were never answered."""
        answered, censored = histogram.count(self.answered), histogram.count(self.censored)
        return bool(censored) and percent / 100 * (answered + censored) > answered

    def summary(self) -> LatencySummary:
        """The figures of the report."""
        everything = self.all
        p50, p75, p90, p95, p99, p99_9, p99_99, top = histogram.percentiles(everything, PERCENTS)
        return LatencySummary(
            count=histogram.count(everything),
            censored=histogram.count(self.censored),
            p50=p50,
            p75=p75,
            p90=p90,
            p95=p95,
            p99=p99,
            p99_9=p99_9,
            p99_99=p99_99,
            max=top,
            mean=round(histogram.mean(everything), 1),
            hdr_v2=hdr.encode_v2(everything),
        )


def count_requests(results: list[EndpointResult], outcome: Outcome | None = None) -> Counts:
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


def settled_counts(outcome: Outcome) -> Counts:
    """The run's counts without what its early end cut off: those requests might have succeeded."""
    found = count_requests(outcome.endpoints, outcome)
    if not (outcome.aborted or outcome.interrupted_by):
        return found
    failures = [item for result in outcome.endpoints for item in result.failures.items()]
    cut_off = sum(lost.count for failure, lost in failures if failure.error_class == "unfinished")
    return replace(found, scheduled=found.scheduled - cut_off, censored=found.censored - cut_off)


def count_statuses(results: list[EndpointResult]) -> dict[str, int]:
    """How many answers had each status, ascending."""
    found: dict[int, int] = {}
    for result in results:
        for status, latencies in result.by_status.items():
            found[status] = found.get(status, 0) + histogram.count(latencies.service)
    return {str(status): count for status, count in sorted(found.items())}


def distributions_of(outcome: Outcome) -> dict[str, Distribution]:
    """The run's latencies by the names of the report: response, service, connect, ttfb and ok."""
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


def spectrum(buckets: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
    """(lowest value, count) of buckets of 1.6 % each, ascending: what a chart of the distribution needs."""
    coarse: Buckets = {}
    for lowest, count in buckets.items():
        bucket = histogram.coarse_bucket_of(lowest)
        coarse[bucket] = coarse.get(bucket, 0) + count
    return tuple(sorted(coarse.items()))
