"""Baselines: a regression is a difference that the spread between runs does not explain."""

import json
from dataclasses import replace

import pytest

from tests.support.loading import at_rate, plan_for
from toombos_cli.base.errors import ConfigurationError, UsageError
from toombos_cli.base.results import Verdict
from toombos_cli.load.baseline import Measured, compare, read_baseline, save_run

PLAN = plan_for(8000, requests=100)


def run(p50_us: float = 10_000, *, error_rate: float = 0.0, rps: float = 1000) -> Measured:
    percentiles = {"p50_us": p50_us, "p95_us": 2 * p50_us, "p99_us": 3 * p50_us}
    return {**percentiles, "error_rate": error_rate, "throughput_rps": rps}


STEADY = [10_000, 10_100, 9_900, 10_050]
NOISY = [10_000, 16_000, 7_000, 12_000]
COMPARED = [
    ("the same as before", STEADY, run(10_000), set()),
    ("slower by less than a tenth", STEADY, run(10_900), set()),
    ("slower than any run of a steady server", STEADY, run(13_000), {"p50_us", "p95_us", "p99_us"}),
    ("slower within the spread of a noisy server", NOISY, run(15_000), set()),
    ("slower beyond the spread of a noisy server", NOISY, run(60_000), {"p50_us", "p95_us", "p99_us"}),
    ("faster", STEADY, run(2_000), set()),
    ("more errors", STEADY, run(error_rate=0.05), {"error_rate"}),
    ("less throughput", STEADY, run(rps=800), {"throughput_rps"}),
    ("one earlier run, a little slower", [10_000], run(15_000), set()),
    ("one earlier run, three times slower", [10_000], run(30_000), {"p50_us", "p95_us", "p99_us"}),
    ("one earlier run, a third of the throughput", [10_000], run(rps=330), {"throughput_rps"}),
    ("slower by microseconds", [100], run(250), set()),
]


@pytest.mark.parametrize(("earlier", "now", "worse"), [row[1:] for row in COMPARED], ids=[row[0] for row in COMPARED])
def test_a_run_is_worse_if_the_spread_does_not_explain_the_difference(tmp_path, earlier, now, worse):
    path = tmp_path / "baseline.json"
    for p50_us in earlier:
        save_run(path, PLAN, run(p50_us))
    result = compare(read_baseline(path, PLAN), now, path=path, judge_throughput=True)
    assert {c.metric for c in result.comparisons if c.verdict is Verdict.FAIL} == worse
    assert result.verdict is (Verdict.FAIL if worse else Verdict.PASS)
    assert result.runs == len(earlier)


def test_what_was_not_measured_is_no_improvement(tmp_path):
    save_run(tmp_path / "b", PLAN, run())
    nothing: Measured = {**dict.fromkeys(("p50_us", "p95_us", "p99_us", "throughput_rps")), "error_rate": 1.0}
    result = compare(read_baseline(tmp_path / "b", PLAN), nothing, path=tmp_path / "b", judge_throughput=True)
    assert [(c.measured, c.change_ratio, c.verdict) for c in result.comparisons if c.metric != "error_rate"] == [
        (None, None, Verdict.ERROR)
    ] * 4
    assert result.verdict is Verdict.FAIL


def test_the_throughput_of_an_open_loop_is_not_judged(tmp_path):
    save_run(tmp_path / "b", PLAN, run())
    result = compare(read_baseline(tmp_path / "b", PLAN), run(rps=1), path=tmp_path / "b", judge_throughput=False)
    assert "throughput_rps" not in {c.metric for c in result.comparisons}


@pytest.mark.parametrize(
    "other",
    [
        replace(PLAN, connections=11),
        plan_for(8001, requests=100),
        plan_for(8000, **at_rate(10, 1)),
        plan_for(8000, requests=100, method="POST"),
        replace(PLAN, keepalive=False),
    ],
    ids=["other connections", "another target", "another mode", "another request", "no keep-alive"],
)
def test_a_baseline_of_another_plan_is_refused_with_the_difference(tmp_path, other):
    save_run(tmp_path / "b", PLAN, run())
    with pytest.raises(UsageError, match=r"another plan \(.+ there, .+ here"):
        read_baseline(tmp_path / "b", other)


def test_a_different_number_of_requests_is_the_same_plan(tmp_path):
    save_run(tmp_path / "b", PLAN, run())
    assert read_baseline(tmp_path / "b", replace(PLAN, requests=5000)).runs


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"schema": "other", "plan": {}, "runs": []}', "\x00"])
def test_a_file_that_is_not_a_baseline_is_a_configuration_error(tmp_path, text):
    (tmp_path / "b").write_text(text)
    with pytest.raises(ConfigurationError, match="not a baseline"):
        read_baseline(tmp_path / "b", PLAN)


def test_the_latest_twenty_runs_are_kept(tmp_path):
    for index in range(25):
        save_run(tmp_path / "b", PLAN, run(index + 1))
    stored = json.loads((tmp_path / "b").read_text())
    assert [r["p50_us"] for r in stored["runs"]] == list(range(6, 26))
    assert [p.name for p in tmp_path.iterdir()] == ["b"]
