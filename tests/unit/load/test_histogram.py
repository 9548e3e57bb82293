"""Distributions: accurate to three digits, mergeable, readable by the HdrHistogram library."""

from collections import Counter
from random import Random

from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from toombos_cli.load.engine import hdr, histogram
from toombos_cli.load.engine.histogram import Distribution
from toombos_cli.load.engine.timeline import FIRST_INTERVAL_NS, Timeline

VALUES = st.integers(0, 3_600_000_000)


@given(VALUES)
def test_a_bucket_contains_its_value_and_is_narrow(value):
    low = histogram.bucket_of(value)
    assert low <= value <= histogram.bucket_top(low)
    assert histogram.bucket_top(low) - low <= value / 1000
    assert histogram.bucket_of(low) == low


@given(st.lists(VALUES, min_size=1, max_size=300), st.floats(0.1, 100))
def test_percentiles_are_accurate_to_three_digits(values, percent):
    (found,) = histogram.percentiles(Counter(map(histogram.bucket_of, values)), (percent,))
    rank = max(1, -(-round(percent / 100 * len(values), 6) // 1))
    true = sorted(values)[int(rank) - 1]
    assert true <= found <= true * 1.001 + 1


def test_all_figures_are_zero_if_there_are_no_samples():
    assert histogram.percentiles({}, (50, 100)) == (0, 0)
    assert histogram.mean({}) == 0


@given(st.lists(VALUES, max_size=100), st.lists(VALUES, max_size=100))
def test_a_merged_histogram_equals_one_of_all_samples(left, right):
    parts = [Counter(map(histogram.bucket_of, values)) for values in (left, right)]
    assert histogram.merged(parts) == Counter(map(histogram.bucket_of, left + right))


def test_the_reference_library_reads_an_encoded_histogram():
    random = Random(1)
    values = [int(random.lognormvariate(8, 2)) for _ in range(20_000)] + [0, 1, 2047, 2048, 3_000_000_000]
    blob = hdr.encode_v2(Counter(map(histogram.bucket_of, values)))
    decoded = HdrHistogram.decode(blob)
    reference = HdrHistogram(1, 3_600_000_000, 3)
    for value in values:
        reference.record_value(value)
    assert decoded.get_total_count() == len(values)
    for percent in (1, 50, 90, 99, 99.9, 100):
        assert decoded.get_value_at_percentile(percent) == reference.get_value_at_percentile(percent)


def test_more_than_an_hour_is_encoded_as_an_hour():
    decoded = HdrHistogram.decode(hdr.encode_v2({histogram.bucket_of(10**11): 3}))
    assert decoded.get_total_count() == 3


def test_a_percentile_among_unanswered_requests_is_unknown():
    found = Distribution({100: 90}, {500: 10})
    assert (found.at(50), found.at(99)) == (100, 500)
    assert not found.reaches_censored(90)
    assert found.reaches_censored(91)


def test_a_long_timeline_stays_small_and_keeps_its_sums():
    line = Timeline()
    for second in range(3600):
        interval = line.at(second * 1_000_000_000)
        interval.ok += 2
        interval.response[100] = interval.response.get(100, 0) + 2
    assert len(line.intervals) <= 240
    assert sum(interval.ok for interval in line.intervals) == 7200
    assert sum(sum(interval.response.values()) for interval in line.intervals) == 7200


def test_merged_timelines_use_the_longest_interval():
    long, short = Timeline(), Timeline()
    for tick in range(300):
        long.at(tick * FIRST_INTERVAL_NS).ok += 1
    for tick in range(10):
        short.at(tick * FIRST_INTERVAL_NS).ok += 1
        short.at(tick * FIRST_INTERVAL_NS).inflight = 3
    merged = Timeline.merged([long, short])
    assert merged.interval_ns == 2 * FIRST_INTERVAL_NS
    assert [interval.ok for interval in merged.intervals[:6]] == [4, 4, 4, 4, 4, 2]
    assert merged.intervals[0].inflight == 3
