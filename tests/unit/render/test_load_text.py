"""The summary of a load test in words."""

from typing import Any

import pytest

from tests.support.loading import load_server, plan_for, report_of
from toombos_cli.load.engine.fleet import run_engine
from toombos_cli.render.text.load import figure, sentence

SLOW = [
    ("timed out", {"requests": 2, "connections": 2, "timeout_s": 0.2}, "(2 timed out)"),
    ("cut off", {"duration_s": 0.2, "connections": 3, "drain_s": 0.1}, "(3 unanswered at the end)"),
]


@pytest.mark.parametrize(("settings", "expected"), [row[1:] for row in SLOW], ids=[row[0] for row in SLOW])
def test_timeouts_are_distinguished_from_requests_cut_off_by_the_end_of_the_run(
    settings: dict[str, Any], expected: str
) -> None:
    with load_server("fixed:5000") as server:
        plan = plan_for(server.port, **settings)
        assert expected in sentence(report_of(plan, run_engine(plan)))


@pytest.mark.parametrize(
    ("metric", "value", "shown"),
    [
        ("p50_us", 8260.33, "8.26 ms"),
        ("p99_us", 21043.5, "21.0 ms"),
        ("p99_us", 2_104_350.0, "2104 ms"),
        ("error_rate", 0.012345, "1.23%"),
        ("throughput_rps", 5787.123456, "5787.1 rps"),
    ],
)
def test_a_figure_of_a_baseline_is_rounded_and_has_its_unit(metric, value, shown):
    assert figure(metric, value) == shown
