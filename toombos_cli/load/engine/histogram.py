"""Latency distributions in bounded memory: HDR buckets of three significant digits, kept sparse.

A distribution is a plain dict from a bucket's lowest value to its count, so that recording is one dict increment,
merging is adding, and two processes can send each other their results. Layout after Tene's HdrHistogram: values
below 2048 stand for themselves; each octave above is cut into 1024 equal buckets.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil

Buckets = dict[int, int]

DIGITS = 3
SUB_BUCKET_BITS = 11  # 2 * 10**DIGITS, rounded up to a power of two
EXACT_BELOW = 1 << SUB_BUCKET_BITS


def bucket_of(value: int) -> int:
    """The lowest value that is counted together with `value` (>= 0)."""
    shift = value.bit_length() - SUB_BUCKET_BITS
    return value if shift <= 0 else value >> shift << shift


def bucket_top(lowest: int) -> int:
    """The highest value of the bucket that begins at `lowest`."""
    shift = lowest.bit_length() - SUB_BUCKET_BITS
    return lowest if shift <= 0 else lowest + (1 << shift) - 1


def coarse_bucket_of(lowest: int) -> int:
    """A wider bucket (64 an octave: within 1.6 %) for the many small distributions of a time series."""
    shift = lowest.bit_length() - 7
    return lowest if shift <= 0 else lowest >> shift << shift


def add(into: Buckets, more: Mapping[int, int]) -> None:
    """Adds the counts of `more` to `into`."""
    get = into.get
    for bucket, count in more.items():
        into[bucket] = get(bucket, 0) + count


def merged(parts: Iterable[Mapping[int, int]]) -> Buckets:
    """One distribution of all samples of the parts."""
    total: Buckets = {}
    for part in parts:
        add(total, part)
    return total


def count(buckets: Mapping[int, int]) -> int:
    """How many samples there are."""
    return sum(buckets.values())


def mean(buckets: Mapping[int, int]) -> float:
    """The mean, each sample taken as the middle of its bucket; 0.0 without samples."""
    samples = count(buckets)
    if not samples:
        return 0.0
    return sum((low + bucket_top(low)) / 2 * n for low, n in buckets.items()) / samples


def percentiles(buckets: Mapping[int, int], percents: Iterable[float]) -> tuple[int, ...]:
    """For each percent (0..100), ascending: the least value that so many samples do not exceed; 0 without samples."""
    samples = count(buckets)
    if not samples:
        return tuple(0 for _ in percents)
    ordered = sorted(buckets.items())
    found = []
    position, reached = 0, ordered[0][1]
    for percent in percents:
        # 99.9 / 100 * 1000 is 999.0000000000001 in floating point: the rank is 999 all the same
        rank = max(1, ceil(round(percent / 100 * samples, 6)))
        while reached < rank:
            position += 1
            reached += ordered[position][1]
        found.append(bucket_top(ordered[position][0]))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Samples in microseconds: those that were answered, and for the rest how long they had waited at least."""

    answered: Buckets
    censored: Buckets

    @property
    def all(self) -> Buckets:
        """Every sample, a censored one at its lower bound."""
        return merged((self.answered, self.censored))

    def at(self, percent: float) -> int:
        """The percentile; a lower bound of it where censored samples are among the highest."""
        return percentiles(self.all, (percent,))[0]

    def reaches_censored(self, percent: float) -> bool:
        """Whether the true percentile is unknown: it lies among the requests that were never answered."""
        answered, censored = count(self.answered), count(self.censored)
        return bool(censored) and percent / 100 * (answered + censored) > answered
