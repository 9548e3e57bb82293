"""The times at which requests are due."""

from itertools import islice, pairwise
from statistics import fmean

import pytest

from toombos_cli.base.errors import UsageError
from toombos_cli.load.build_plan import parse_stages
from toombos_cli.load.engine.pacer import RampStage, arrival_times


def hold(rps: float, duration_s: float) -> RampStage:
    return RampStage(duration_s=duration_s, start_rps=rps, end_rps=rps)


CONSTANT = [
    ("ten a second", (hold(10, 0.5),), [0, 100, 200, 300, 400]),
    ("a rate below one", (hold(0.5, 6),), [0, 2000, 4000]),
    ("a number of requests that rounding makes too large", (hold(0.1, 10),), [0]),
    ("two levels", (hold(2, 1), hold(4, 1)), [0, 500, 1000, 1250, 1500, 1750]),
    ("a pause between two levels", (hold(2, 1), hold(0, 1), hold(2, 1)), [0, 500, 2000, 2500]),
    ("a ramp from zero", (RampStage(duration_s=2, start_rps=0, end_rps=4),), [0, 1000, 1414, 1732]),
    ("a ramp to zero", (RampStage(duration_s=2, start_rps=4, end_rps=0),), [0, 268, 586, 1000]),
]


@pytest.mark.parametrize(("stages", "due_ms"), [row[1:] for row in CONSTANT], ids=[row[0] for row in CONSTANT])
def test_constant_arrivals_follow_the_area_under_the_rate(stages, due_ms):
    assert [round(at / 1e6) for at in arrival_times(stages, "constant")] == due_ms


@pytest.mark.parametrize("rps", [0.3, 1, 7, 150, 33.3, 12345])
def test_a_constant_rate_sends_exactly_rate_times_duration_requests(rps):
    assert sum(1 for _ in arrival_times((hold(rps, 10),), "constant")) == -(-round(rps * 10, 6) // 1)


def test_poisson_arrivals_have_exponential_gaps_of_the_given_rate():
    gaps = [b - a for a, b in pairwise(arrival_times((hold(1000, 20),), "poisson", seed=7))]
    mean_ms = fmean(gaps) / 1e6
    assert mean_ms == pytest.approx(1.0, rel=0.03)
    assert fmean((gap / 1e6 - mean_ms) ** 2 for gap in gaps) == pytest.approx(1.0, rel=0.08)


def test_the_same_seed_gives_the_same_arrivals():
    def first(seed: int) -> list[int]:
        return list(islice(arrival_times((hold(100, 1),), "poisson", seed), 20))

    assert first(1) == first(1) != first(2)


def test_arrival_times_ascend_and_stay_within_the_stages():
    stages = parse_stages("2s:300,1s:0,3s:50")
    for arrival in ("constant", "poisson"):
        times = list(arrival_times(stages, arrival))
        assert times == sorted(times)
        assert times[0] >= 0
        assert times[-1] <= 6e9


def test_a_stage_ramps_from_the_rate_of_the_stage_before():
    ramp, hold_ = parse_stages("30s:50, 1m:50")
    assert (ramp.duration_s, ramp.start_rps, ramp.end_rps) == (30, 0, 50)
    assert (hold_.duration_s, hold_.start_rps, hold_.end_rps) == (60, 50, 50)


@pytest.mark.parametrize("text", ["", "30s", "30s:", ":50", "30s:fast", "30s:-5", "30s:50,", "30s:0", "0s:10"])
def test_invalid_stages_are_refused(text):
    with pytest.raises(UsageError):
        parse_stages(text)
