"""From distributions to the figures of the report."""

from collections.abc import Mapping
from dataclasses import dataclass

from toombos_cli.load import hdr, histogram
from toombos_cli.load.histogram import Buckets

PERCENTS = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0)


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


def spectrum(buckets: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
    """(lowest value, count) of buckets of 1.6 % each, ascending: what a chart of the distribution needs."""
    coarse: Buckets = {}
    for lowest, count in buckets.items():
        bucket = histogram.coarse_bucket_of(lowest)
        coarse[bucket] = coarse.get(bucket, 0) + count
    return tuple(sorted(coarse.items()))
