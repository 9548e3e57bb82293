"""Latency distributions in bounded memory: sparse HDR buckets of three significant digits.

A distribution is a plain dict from a bucket's lowest value to its count: recording is one dict increment, merging is
addition, and processes can exchange results. Layout after Tene's HdrHistogram: values below 2048 have their own
buckets; each octave above is divided into 1024 equal buckets.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil

Buckets = dict[int, int]

DIGITS = 3
SUB_BUCKET_BITS = 11  # 2 * 10**DIGITS, rounded up to a power of two
EXACT_BELOW = 1 << SUB_BUCKET_BITS


def bucket_of(value: int) -> int:
    """Return the lowest value that is counted together with `value` (>= 0)."""
    shift = value.bit_length() - SUB_BUCKET_BITS
    return value if shift <= 0 else value >> shift << shift


def bucket_top(lowest: int) -> int:
    """Return the highest value of the bucket that starts at `lowest`."""
    shift = lowest.bit_length() - SUB_BUCKET_BITS
    return lowest if shift <= 0 else lowest + (1 << shift) - 1


def coarse_bucket_of(lowest: int) -> int:
    """Return a wider bucket (64 per octave: within 1.6 %) for the many small distributions of a time series."""
    shift = lowest.bit_length() - 7
    return lowest if shift <= 0 else lowest >> shift << shift


def coarse(buckets: Mapping[int, int]) -> Buckets:
    """Return the distribution in these wider buckets."""
    found: Buckets = {}
    for bucket, count in buckets.items():
        wide = coarse_bucket_of(bucket)
        found[wide] = found.get(wide, 0) + count
    return found


def add(into: Buckets, more: Mapping[int, int]) -> None:
    """Add the counts of `more` to `into`."""
    get = into.get
    for bucket, count in more.items():
        into[bucket] = get(bucket, 0) + count


def merged(parts: Iterable[Mapping[int, int]]) -> Buckets:
    """Return one distribution of all samples of the parts."""
    total: Buckets = {}
    for part in parts:
        add(total, part)
    return total


def count(buckets: Mapping[int, int]) -> int:
    """Return the number of samples."""
    return sum(buckets.values())


def mean(buckets: Mapping[int, int]) -> float:
    """Return the mean, taking each sample as the middle of its bucket; 0.0 without samples."""
    samples = count(buckets)
    if not samples:
        return 0.0
    return sum((low + bucket_top(low)) / 2 * n for low, n in buckets.items()) / samples


def percentiles(buckets: Mapping[int, int], percents: Iterable[float]) -> tuple[int, ...]:
    """Return, for each of the ascending percents (0..100), the smallest value that this share of samples do not exceed.

    All are 0 without samples.
    """
    samples = count(buckets)
    if not samples:
        return tuple(0 for _ in percents)
    ordered = sorted(buckets.items())
    found = []
    position, reached = 0, ordered[0][1]
    for percent in percents:
        # 99.9 / 100 * 1000 is 999.0000000000001 in floating point, but the rank is 999
        rank = max(1, ceil(round(percent / 100 * samples, 6)))
        while reached < rank:
            position += 1
            reached += ordered[position][1]
        found.append(bucket_top(ordered[position][0]))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Samples in microseconds: of requests with a response, and lower bounds for requests without one."""

    answered: Buckets
    censored: Buckets

    @property
    def all(self) -> Buckets:
        """Return every sample, censored ones at their lower bounds."""
        return merged((self.answered, self.censored))

    def at(self, percent: float) -> int:
        """Return the percentile, or a lower bound for it if it falls among the censored samples."""
        return percentiles(self.all, (percent,))[0]

    def reaches_censored(self, percent: float) -> bool:
        """Report whether the true percentile is unknown: it falls among the requests without a response."""
        answered, censored = count(self.answered), count(self.censored)
        return bool(censored) and percent / 100 * (answered + censored) > answered
