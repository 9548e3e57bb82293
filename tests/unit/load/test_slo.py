"""Objectives: their syntax and their verdicts."""

import pytest

from toombos_cli.base.errors import UsageError
from toombos_cli.base.results import Verdict
from toombos_cli.load.engine.histogram import Distribution
from toombos_cli.load.report import Counts
from toombos_cli.load.slo import judge, parse_objectives

PARSED = [
    ("p99<800ms", ("latency", "response", 99.0, "<", 800_000)),
    ("p99.9 <= 1.5s", ("latency", "response", 99.9, "<=", 1_500_000)),
    ("service.p50<900us", ("latency", "service", 50.0, "<", 900)),
    ("ttfb.p95<20ms", ("latency", "ttfb", 95.0, "<", 20_000)),
    ("connect.max<1s", ("latency", "connect", 100.0, "<", 1_000_000)),
    ("mean<5ms", ("latency", "response", None, "<", 5_000)),
    ("error_rate<1%", ("error_rate", "response", None, "<", 0.01)),
    ("error_rate<=0.005", ("error_rate", "response", None, "<=", 0.005)),
    ("rps>=100", ("rps", "response", None, ">=", 100)),
]


@pytest.mark.parametrize(("text", "expected"), PARSED, ids=[row[0] for row in PARSED])
def test_an_objective_is_parsed(text, expected):
    (found,) = parse_objectives(text)
    assert (found.kind, found.distribution, found.percent, found.comparison, found.limit) == pytest.approx(expected)


def test_objectives_are_separated_by_commas():
    assert [o.text for o in parse_objectives(" p99<800ms , error_rate<1% ")] == ["p99<800ms", "error_rate<1%"]


UNREADABLE = [
    ("", 1, "a metric"),
    ("p99", 4, "<, <=, > or >="),
    ("p99<", 5, "a number"),
    ("p99<800", 8, "a unit"),
    ("p99<1%", 6, "a unit"),
    ("p0<1ms", 1, "a metric"),
    ("p101<1ms", 1, "a metric"),
    ("latency<1ms", 1, "a metric"),
    ("error_rate<1s", 13, "percent"),
    ("rps>5%", 6, "bare number"),
    ("p99<1ms error_rate<1%", 9, "a comma"),
    ("p99<1ms,", 9, "a metric"),
    ("p99=1ms", 4, "<, <="),
]


@pytest.mark.parametrize(("text", "position", "expected"), UNREADABLE, ids=[row[0] or "empty" for row in UNREADABLE])
def test_a_syntax_error_shows_its_position(text, position, expected):
    with pytest.raises(UsageError) as caught:
        parse_objectives(text)
    message = str(caught.value)
    assert f"at position {position}" in message
    assert expected in message
    assert message.splitlines()[-1] == "  " + " " * (position - 1) + "^"


TEN_UNANSWERED = Distribution({100_000: 90}, {300_000: 10})
JUDGED = [
    ("p50<200ms", Verdict.PASS),
    ("p50<50ms", Verdict.FAIL),
    ("p99<200ms", Verdict.FAIL),  # the p99 is at least 300 ms
    ("p99<500ms", Verdict.ERROR),  # the p99 may be above 500 ms
    ("p99>200ms", Verdict.PASS),
    ("p99>500ms", Verdict.ERROR),
    ("mean<200ms", Verdict.ERROR),
    ("mean<50ms", Verdict.FAIL),
    ("error_rate<11%", Verdict.PASS),
    ("error_rate<5%", Verdict.FAIL),
    ("rps>10", Verdict.PASS),
    ("service.p50<1s", Verdict.ERROR),  # nothing was measured
]


@pytest.mark.parametrize(("text", "verdict"), JUDGED, ids=[row[0] for row in JUDGED])
def test_unanswered_requests_never_make_an_objective_pass(text, verdict):
    counts = Counts(scheduled=100, ok=90, http_error=0, transport_error=0, censored=10, dropped=0)
    distributions = {"response": TEN_UNANSWERED, "service": Distribution({}, {})}
    (objective,) = parse_objectives(text)
    assert judge(objective, distributions, counts, 50.0).verdict is verdict
