"""Objectives: their syntax and their verdicts."""

import errno

import pytest

from toombos_cli.base.errors import UsageError
from toombos_cli.base.results import Verdict
from toombos_cli.load.engine.failures import FAULT_OF, classify
from toombos_cli.load.engine.histogram import Distribution
from toombos_cli.load.report import Counts, ServerUse
from toombos_cli.load.slo import Figures, check_objectives, judge, parse_objectives

PARSED = [
    ("p99<800ms", ("latency", "response", 99.0, "<", 800_000)),
    ("p99.9 <= 1.5s", ("latency", "response", 99.9, "<=", 1_500_000)),
    ("service.p50<900us", ("latency", "service", 50.0, "<", 900)),
    ("ttfb.p95<20ms", ("latency", "ttfb", 95.0, "<", 20_000)),
    ("connect.max<1s", ("latency", "connect", 100.0, "<", 1_000_000)),
    ("mean<5ms", ("latency", "response", None, "<", 5_000)),
    ("error_rate<1%", ("error_rate", "response", None, "<", 0.01)),
    ("error_rate<=0.005", ("error_rate", "response", None, "<=", 0.005)),
    ("checks>=99%", ("checks", "response", None, ">=", 0.99)),
    ("checks > 0.5", ("checks", "response", None, ">", 0.5)),
    ("checks.rss<1MB", ("rss", "response", None, "<", 1e6)),
    ("rps>=100", ("rps", "response", None, ">=", 100)),
    ("ok_rps>=100", ("ok_rps", "response", None, ">=", 100)),
    ("ok.p99<100ms", ("latency", "ok", 99.0, "<", 100_000)),
    ("ok.mean<5ms", ("latency", "ok", None, "<", 5_000)),
    ("crm.cpu<80%", ("cpu", "response", None, "<", 80)),
    ("my-crm.rss<=256MB", ("rss", "response", None, "<=", 256e6)),
    ("127.0.0.1:8000.rss < 1GiB", ("rss", "response", None, "<", 2**30)),
    ("service.cpu<80%", ("cpu", "response", None, "<", 80)),
    ("p50.cpu<80%", ("cpu", "response", None, "<", 80)),
]


@pytest.mark.parametrize(("text", "expected"), PARSED, ids=[row[0] for row in PARSED])
def test_an_objective_is_parsed(text, expected):
    (found,) = parse_objectives(text)
    assert (found.kind, found.distribution, found.percent, found.comparison, found.limit) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "endpoint", "server"),
    [
        ("p99{look}<1s", "look", None),
        ("ok.p50 { GET /items, all } < 1s", "GET /items, all", None),
        ("error_rate{look}<1%", "look", None),
        ("checks{look}>=99%", "look", None),
        ("rps{look}>1", "look", None),
        ("ok_rps{look}>1", "look", None),
        ("crm.cpu<80%", None, "crm"),
        ("127.0.0.1:8000.rss<1GB", None, "127.0.0.1:8000"),
    ],
)
def test_an_objective_may_be_on_one_request_or_server(text, endpoint, server):
    (found,) = parse_objectives(text)
    assert (found.endpoint, found.server) == (endpoint, server)


@pytest.mark.parametrize("text", ["p99{look}<1s", "rps{look}>1", "crm.cpu<80%", "p50<1s,error_rate{look}<1%"])
def test_an_objective_on_what_is_not_in_the_run_is_refused_before_anything_is_sent(text):
    objectives = parse_objectives(text)
    check_objectives(objectives, requests=("look", "buy"), servers=("crm", "web"))
    with pytest.raises(UsageError, match="in this run") as caught:
        check_objectives(objectives, requests=("order",), servers=("web",))
    assert "use one of: " in (caught.value.problems[0].hint or "")


@pytest.mark.parametrize(("text", "checked"), [("checks>=99%", set()), ("checks{buy}>=99%", {"look"})])
def test_checks_of_requests_that_expect_nothing_are_refused(text, checked):
    objectives = parse_objectives(text)
    with pytest.raises(UsageError, match="no request has expectations"):
        check_objectives(objectives, requests=("look", "buy"), servers=(), checked=frozenset(checked))
    check_objectives(objectives, requests=("look", "buy"), servers=(), checked=frozenset({"buy"}))


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
    ("checks>=1s", 10, "percent"),
    ("checks=99%", 7, "<, <="),
    ("rps>5%", 6, "bare number"),
    ("p99<1ms error_rate<1%", 9, "a comma"),
    ("p99<1ms,", 9, "a metric"),
    ("p99=1ms", 4, "<, <="),
    ("connect.p99{look}<1s", 12, "does not belong to one request"),
    ("crm.cpu{look}<1%", 8, "does not belong to one request"),
    ("crm.cpu<80", 11, "percent"),
    ("crm.rss<80", 11, "a unit"),
    ("crm.rss<80%", 11, "a unit"),
    ("ok_rps>5%", 9, "bare number"),
    ("p99<1kB", 6, "a unit"),
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
    ("checks>=90%", Verdict.PASS),
    ("checks>95%", Verdict.FAIL),
    ("ok_rps>30", Verdict.PASS),
    ("ok_rps>40", Verdict.FAIL),
    ("crm.cpu<80%", Verdict.PASS),
    ("crm.cpu<70%", Verdict.FAIL),
    ("crm.rss<100MB", Verdict.PASS),
    ("crm.rss<10MB", Verdict.FAIL),
    ("gone.cpu<80%", Verdict.ERROR),  # its process is not visible
]


@pytest.mark.parametrize(("text", "verdict"), JUDGED, ids=[row[0] for row in JUDGED])
def test_unanswered_requests_never_make_an_objective_pass(text, verdict):
    counts = Counts(scheduled=100, ok=90, http_error=0, transport_error=0, censored=10, dropped=0)
    distributions = {"response": TEN_UNANSWERED, "service": Distribution({}, {})}
    (objective,) = parse_objectives(text)
    figures = Figures(distributions=distributions, counts=counts, throughput_rps=50.0, ok_rps=40.0, checks=0.9)
    crm = ServerUse(
        name="crm", pid=1, cpu_percent=75.0, cpu_ms_per_request=1.0, cpu_s=1.0, rss_max_bytes=50_000_000, series=()
    )
    assert judge(objective, figures, crm if objective.server == "crm" else None).verdict is verdict


COUNTED = [
    ("the server failed some", {"ok": 90, "http_error": 10}, 0.1),
    ("the network failed some", {"ok": 90, "transport_error": 10, "network_fault": 10}, 0.0),
    ("this machine failed some", {"ok": 90, "transport_error": 10, "machine_fault": 10}, 0.0),
    (
        "all failed some",
        {"ok": 60, "http_error": 20, "transport_error": 20, "machine_fault": 10, "network_fault": 10},
        0.25,
    ),
    ("the server dropped some", {"ok": 90, "dropped": 10}, 0.1),
]


@pytest.mark.parametrize(("counts", "rate"), [row[1:] for row in COUNTED], ids=[row[0] for row in COUNTED])
def test_only_the_failures_of_the_server_are_errors(counts, rate):
    zero = dict.fromkeys(("http_error", "transport_error", "censored", "dropped"), 0)
    assert Counts(**({"scheduled": 100} | zero | counts)).error_rate == pytest.approx(rate)


@pytest.mark.parametrize("number", [errno.EPROTO, errno.EMFILE, errno.ENOMEM, errno.EPERM, errno.ENETDOWN, 0])
def test_every_error_class_has_a_fault(number):
    assert classify(OSError(number, "x"), "connect").error_class in FAULT_OF
