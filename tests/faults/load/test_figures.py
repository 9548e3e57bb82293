"""What the figures of a run mean: rates by the time of sending, and failures by whose fault they are."""

import resource
import socket
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from tests.support.loading import at_rate, endpoint, errors_of, load_server, plan_for, report_of
from tests.support.servers import hang, read_request, serve
from toombos_cli.base.results import Verdict
from toombos_cli.load.engine.fleet import run_engine
from toombos_cli.load.run import run_load
from toombos_cli.load.slo import LoadCriteria, parse_objectives

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def hangs_once(at: int) -> Callable[[socket.socket], None]:
    """Return a handler that responds to all requests but this one."""
    numbers = count(1)

    def handle(connection: socket.socket) -> None:
        while read_request(connection):
            if next(numbers) == at:
                hang(connection)
            connection.sendall(OK)

    return handle


ONE_HANG = [
    ("an open loop", at_rate(100, 1), 1.0),
    ("a closed loop with a duration", {"duration_s": 1.0, "connections": 4}, 1.0),
    ("a closed loop with a number of requests", {"requests": 2000, "connections": 4}, None),
    ("a closed loop of one connection whose last request hangs", {"requests": 50, "connections": 1}, None),
]


@pytest.mark.parametrize(("settings", "sending_s"), [row[1:] for row in ONE_HANG], ids=[row[0] for row in ONE_HANG])
def test_the_wait_for_a_hung_request_does_not_count_as_time_of_sending(settings, sending_s):
    with serve(hangs_once(50)) as port:
        plan = plan_for(port, timeout_s=2.5, drain_s=2.5, **settings)
        report = report_of(plan, run_engine(plan))
    assert report.counts.scheduled - report.counts.ok == 1
    run = report.run
    assert run.sending_s < 1.5
    assert run.drain_s > 1
    assert run.sending_s + run.drain_s == pytest.approx(run.duration_s, abs=0.01)
    if sending_s:
        assert run.sending_s == pytest.approx(sending_s, abs=0.1)
    assert report.ok_rps == report.throughput_rps == pytest.approx(report.counts.ok / run.sending_s, rel=0.02)
    cpu_s = report.generator.cpu_us_per_request * report.counts.scheduled / 1e6
    assert report.generator.cpu_percent >= cpu_s / run.duration_s * 100, "waiting alone uses nearly no CPU"


@pytest.mark.parametrize(
    ("rps", "duration_s", "more"),
    [
        (10, 1, {}),
        (2, 1, {}),
        (0.5, 2, {}),
        (10, 1, {"warmup_s": 0.5}),
        (10, 1, {"connections": 2, "processes": 1, "max_connections": 2}),
    ],
    ids=["ten in a second", "two in a second", "one in two seconds", "after a warm-up", "few connections"],
)
def test_the_rate_of_an_open_loop_is_that_of_its_schedule(rps, duration_s, more):
    with load_server("fixed:2") as server:
        plan = plan_for(server.port, **at_rate(rps, duration_s), **more)
        report = report_of(plan, run_engine(plan))
    assert (report.throughput_rps, report.sent_rps, report.run.sending_s) == (rps, rps, duration_s)


def test_responses_after_the_schedule_are_not_part_of_the_rate():
    with load_server("fixed:500") as server:
        plan = plan_for(server.port, **at_rate(20, 1))
        report = report_of(plan, run_engine(plan))
    assert report.counts.ok == 20
    assert 8 <= report.throughput_rps <= 11
    assert report.sent_rps == 20
    assert report.run.drain_s == pytest.approx(0.45, abs=0.2)


def test_a_closed_loop_of_one_round_has_the_rate_of_that_round():
    with load_server("fixed:50") as server:
        plan = plan_for(server.port, requests=10, connections=10)
        report = report_of(plan, run_engine(plan))
    assert report.throughput_rps == pytest.approx(10 / report.run.duration_s, rel=0.15)


def test_a_run_in_several_processes_has_the_rate_of_all():
    with load_server("fixed:5") as server:
        plan = plan_for(server.port, processes=2, **at_rate(100, 1))
        report = run_load(plan, criteria=LoadCriteria())
    assert (report.throughput_rps, report.sent_rps) == (100, 100)


def close_silently(connection: socket.socket) -> None:
    """Respond and close without announcing it."""
    read_request(connection)
    connection.sendall(OK)


STALE = [
    ("a closed loop", {"requests": 200, "connections": 4}),
    ("a closed loop of a mix", {"requests": 200, "connections": 4, "mix": True}),
    ("an open loop", at_rate(200, 1)),
]


@pytest.mark.parametrize("settings", [row[1] for row in STALE], ids=[row[0] for row in STALE])
def test_a_request_that_met_a_closed_connection_is_sent_again(settings):
    served = count()

    def handle(connection: socket.socket) -> None:
        close_silently(connection)
        next(served)

    with serve(handle, backlog=500) as port:
        settings = dict(settings)
        if settings.pop("mix", False):
            settings["endpoints"] = (endpoint(port), endpoint(port, name="GET /b", path="/b"))
        plan = plan_for(port, **settings)
        report = run_load(plan, criteria=LoadCriteria(objectives=parse_objectives("error_rate<1%")))
    assert (report.counts.ok, report.counts.scheduled) == (200, 200)
    assert next(served) == 200
    assert not report.errors
    assert report.verdict is not Verdict.FAIL
    if plan.mode == "closed":
        assert report.counts.retried > 50
        assert any("sent again" in note for note in report.notes)


def test_a_closed_connection_is_told_apart_and_breaks_no_objective_if_nothing_is_sent_again():
    with serve(close_silently) as port:
        plan = plan_for(port, requests=200, connections=4, retry_stale=False)
        report = run_load(plan, criteria=LoadCriteria(objectives=parse_objectives("error_rate<1%")))
    assert {error["class"] for error in report.errors} == {"stale_reuse"}
    assert {error["fault"] for error in report.errors} == {"network"}
    assert report.counts.network_fault == report.counts.scheduled - report.counts.ok > 50
    assert report.slo[0].verdict is Verdict.PASS
    assert any("--no-keepalive" in note for note in report.notes)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_server_that_reads_a_request_and_hangs_up_has_failed_it(method):
    """It may have done what was asked, so it is neither blameless nor asked again."""
    requests = count()

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        next(requests)
        connection.sendall(OK)
        read_request(connection)
        next(requests)

    with serve(handle) as port:
        plan = plan_for(port, requests=20, connections=1, method=method)
        report = report_of(plan, run_engine(plan))
    assert errors_of(report) == {("eof", "wait"): 10}
    assert report.errors[0]["fault"] == "server"
    assert next(requests) == 20


def test_a_post_that_the_server_may_have_read_is_not_sent_again():
    with load_server("reset:5") as server:
        plan = plan_for(server.port, method="POST", requests=100, connections=1)
        report = report_of(plan, run_engine(plan))
    assert server.requests == 100
    assert report.counts.retried == 0
    assert sum(errors_of(report).values()) == 20


def test_one_process_out_of_files_is_no_failure_of_the_server():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = threading.Event()

    def handle(connection: socket.socket) -> None:
        while read_request(connection):
            opened.wait(0.3)
            connection.sendall(OK)

    with serve(handle) as port:
        plan = plan_for(port, max_connections=200, **at_rate(100, 1))
        try:
            used = len(list(Path("/proc/self/fd").iterdir()))
            resource.setrlimit(resource.RLIMIT_NOFILE, (used + 30, hard))
            outcome = run_engine(plan)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    report = report_of(plan, outcome)
    assert report.counts.machine_fault > 0
    assert {error["fault"] for error in report.errors if error["class"] == "open_files"} == {"machine"}
    assert report.verdict is Verdict.ERROR
    assert any("no open file left" in reason for reason in report.generator.reasons)
