"""The load engine against servers with known responses: its report must agree with what happened."""

import os
import statistics
import subprocess
import sys

import pytest

from tests.support.loading import at_rate, endpoint, errors_of, load_server, plan_for, report_of
from tests.support.ports import free_port
from tests.support.runner import TOOMBOS
from tests.support.waiting import wait_for
from toombos_cli import processes
from toombos_cli.load.engine.fleet import run_engine


def test_service_time_agrees_with_the_log_of_the_server():
    with load_server("fixed:20") as server:
        plan = plan_for(server.port, requests=300, connections=4)
        report = report_of(plan, run_engine(plan))
    assert server.requests == report.counts.ok == 300
    p50_ms = report.latency_us.service.p50 / 1000
    assert 20 <= p50_ms <= 21.5 + _server_lag_ms(server.held_ms)
    assert abs(p50_ms - statistics.median(server.held_ms)) < 1


def _server_lag_ms(held_ms: list[float], share: float = 0.5) -> float:
    """Return how much longer than 20 ms the server itself took, at this quantile, because the machine was busy."""
    return max(0.0, sorted(held_ms)[int(share * len(held_ms))] - 20)


def test_slow_responses_appear_only_in_the_tail():
    with load_server("mixed:10:100") as server:
        plan = plan_for(server.port, requests=500, connections=5)
        service = report_of(plan, run_engine(plan)).latency_us.service
    assert service.p75 < 20_000
    assert service.p90 < 110_000
    assert service.p95 > 95_000


def test_a_stall_shows_in_the_response_time_of_an_open_loop():
    with load_server("stall:20:3:1") as server:
        plan = plan_for(server.port, **at_rate(200, 10))
        outcome = run_engine(plan)
        report = report_of(plan, outcome)
    assert server.requests == report.counts.ok == 2000
    response = report.latency_us.response
    # A tenth of the requests were due during the stall and waited from then until its end.
    for measured, ideal_us in ((response.p95, 520_000), (response.p99, 920_000), (response.p99_9, 1_010_000)):
        assert measured > ideal_us * 0.94
    # On a busy machine only the log of the server shows how long the stall really took.
    waits = [at - (outcome.started_ns + n * 5_000_000) for n, at in enumerate(sorted(server.answered_ns))]
    p95_us, p99_us = (sorted(waits)[int(2000 * share) - 1] / 1000 for share in (0.95, 0.99))
    assert response.p95 == pytest.approx(p95_us, rel=0.06)
    assert response.p99 == pytest.approx(p99_us, rel=0.06)


def test_a_stall_hides_from_the_service_time_of_a_closed_loop():
    with load_server("stall:20:1:1") as server:
        plan = plan_for(server.port, connections=4, duration_s=6.0)
        report = report_of(plan, run_engine(plan))
    noise_us = _server_lag_ms(server.held_ms, 0.99) * 1000 + report.generator.lag_p99_us
    assert report.latency_us.service.p99 < 40_000 + 2 * noise_us
    assert report.latency_us.service.max > 900_000


def test_the_second_lost_to_a_full_backlog_counts_as_connect_time():
    with load_server("stall:20:1:1", backlog=100) as server:
        plan = plan_for(server.port, **at_rate(200, 4))
        report = report_of(plan, run_engine(plan))
    assert report.counts.ok == report.counts.scheduled == 800
    assert report.latency_us.connect.max > 900_000  # SYNs are sent again after 1 s
    assert report.latency_us.service.max < 1_300_000
    assert report.latency_us.response.max > report.latency_us.connect.max


@pytest.mark.parametrize("duration_s", [4, pytest.param(20, marks=pytest.mark.full)])
def test_beyond_capacity_latency_grows_by_half_a_second_each_second(duration_s):
    with load_server("capacity:100") as server:
        plan = plan_for(server.port, timeout_s=30, drain_s=30, max_connections=5000, **at_rate(150, duration_s))
        report = report_of(plan, run_engine(plan))
    assert report.counts.ok == report.counts.scheduled == 150 * duration_s
    assert report.counts.dropped == 0
    assert report.latency_us.response.max == pytest.approx(duration_s / 2 * 1e6, rel=0.05)
    assert report.latency_us.response.p50 == pytest.approx(duration_s / 4 * 1e6, rel=0.05)


def test_each_reset_is_counted_as_the_only_error():
    """A reset on a connection in use looks like that of a server which has closed it, so nothing more is claimed."""
    with load_server("reset:10") as server:
        plan = plan_for(server.port, requests=10_000, connections=10, retry_stale=False)
        report = report_of(plan, run_engine(plan))
    assert server.requests == 10_000
    assert report.counts.ok == 9_000
    assert sum(errors_of(report).values()) == 1_000
    assert set(errors_of(report)) <= {("stale_reuse", "wait"), ("reset", "wait")}
    assert errors_of(report)[("stale_reuse", "wait")] > 600, "what a fresh connection meets is a reset"


def test_each_reset_on_a_fresh_connection_is_the_failure_of_the_server():
    with load_server("reset:10") as server:
        plan = plan_for(server.port, requests=2_000, connections=10, keepalive=False)
        report = report_of(plan, run_engine(plan))
    assert server.requests == 2_000
    assert errors_of(report) == {("reset", "wait"): 200}
    assert report.counts.retried == 0


def test_latencies_are_reported_for_successes_and_for_all_responses():
    with load_server("error:4") as server:
        plan = plan_for(server.port, requests=400, connections=4)
        report = report_of(plan, run_engine(plan))
    assert (report.counts.ok, report.counts.http_error) == (300, 100)
    assert report.status == {"200": 300, "500": 100}
    assert (report.latency_us.response.count, report.latency_us.ok.count) == (400, 300)


def test_each_request_has_its_own_connection_without_keepalive():
    with load_server("fixed:0") as server:
        plan = plan_for(server.port, requests=500, connections=5, keepalive=False)
        report = report_of(plan, run_engine(plan))
    assert report.counts.ok == server.requests == 500
    assert report.latency_us.connect.count == 500
    assert report.latency_us.response.p50 >= report.latency_us.service.p50


def test_a_server_may_close_the_connection_after_each_response():
    with load_server("slow:1") as server:
        plan = plan_for(server.port, requests=200, connections=4)
        report = report_of(plan, run_engine(plan))
    assert report.counts.ok == server.requests == 200
    assert not report.errors


def test_warm_up_requests_are_sent_but_not_counted():
    with load_server("fixed:5") as server:
        plan = plan_for(server.port, requests=100, connections=2, warmup_s=0.5)
        report = report_of(plan, run_engine(plan))
    assert report.counts.ok == report.counts.scheduled == 100
    assert server.requests > 130


def test_the_warm_up_of_an_open_loop_uses_the_first_rate():
    with load_server("fixed:5") as server:
        plan = plan_for(server.port, warmup_s=1.0, **at_rate(100, 1))
        report = report_of(plan, run_engine(plan))
    assert report.counts.ok == 100
    assert 195 <= server.requests <= 200, "what a busy machine has not sent when the warm-up ends is not sent at all"


def test_requests_unfinished_after_the_drain_count_in_the_tail_as_lower_bounds():
    with load_server("fixed:2000") as server:
        plan = plan_for(server.port, drain_s=0.5, **at_rate(50, 1))
        report = report_of(plan, run_engine(plan))
    assert (report.counts.ok, report.counts.censored) == (0, 50)
    assert errors_of(report) == {("unfinished", "wait"): 50}
    assert report.latency_us.response.censored == 50
    assert 1_400_000 < report.latency_us.response.max < 1_700_000


def test_requests_queue_if_all_connections_are_busy_and_the_wait_is_response_time():
    with load_server("fixed:100") as server:
        plan = plan_for(server.port, max_connections=2, **at_rate(40, 1))
        report = report_of(plan, run_engine(plan))
    assert report.counts.ok == 40
    assert report.latency_us.service.p90 < 200_000  # a busy machine delays single answers
    assert report.latency_us.response.max > 900_000
    assert not report.generator.valid
    assert "all connections were busy" in report.generator.reasons[-1]


def test_requests_that_were_never_sent_are_counted_as_dropped():
    with load_server("fixed:1000") as server:
        plan = plan_for(server.port, max_connections=1, drain_s=0.2, **at_rate(20, 0.5))
        report = report_of(plan, run_engine(plan))
    assert (report.counts.scheduled, report.counts.dropped, report.counts.censored) == (10, 9, 1)
    assert report.latency_us.response.censored == 10


def test_an_impossible_rate_ends_in_time_and_counts_every_scheduled_request():
    with load_server("fixed:5") as server:
        plan = plan_for(server.port, max_connections=4, drain_s=0.2, **at_rate(300_000, 1))
        report = report_of(plan, run_engine(plan))
    assert report.counts.scheduled == 300_000
    assert report.counts.dropped > 290_000
    assert report.latency_us.response.count == 300_000
    assert report.run.duration_s < 5


def test_overdue_requests_do_not_use_memory():
    peaks_mb = []
    with load_server("fixed:5") as server:
        for rate in ("100", "1000000"):
            argv = [*TOOMBOS, "load", f"http://127.0.0.1:{server.port}/", "--rate", rate]
            argv += ["--duration", "3s", "--drain", "100ms", "--max-connections", "4"]
            with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                _, _, usage = os.wait4(process.pid, 0)
                process.returncode = 0
            peaks_mb.append(usage.ru_maxrss / 1024)
    assert peaks_mb[1] < peaks_mb[0] + 20


def test_overdue_requests_of_the_warm_up_are_not_counted():
    with load_server("fixed:50") as server:
        plan = plan_for(server.port, max_connections=1, warmup_s=0.5, drain_s=0.1, **at_rate(100, 0.5))
        report = report_of(plan, run_engine(plan))
    assert report.counts.scheduled == 50
    assert 0 < report.counts.ok < 15


def test_the_engine_runs_on_plain_asyncio_if_there_is_no_uvloop(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)  # makes `import uvloop` fail
    with load_server("fixed:1") as server:
        closed = plan_for(server.port, requests=200, connections=4)
        opened = plan_for(server.port, **at_rate(100, 1))
        assert report_of(closed, run_engine(closed)).counts.ok == 200
        assert report_of(opened, run_engine(opened)).counts.ok == 100


def test_a_mix_is_drawn_by_weight_and_counted_by_endpoint():
    with load_server("fixed:0") as server:
        endpoints = (endpoint(server.port, name="often", weight=4), endpoint(server.port, name="seldom", path="/b"))
        plan = plan_for(server.port, requests=3000, connections=4, endpoints=endpoints)
        report = report_of(plan, run_engine(plan))
    counts = {name: found.counts.ok for name, found in report.endpoints.items()}
    assert sum(counts.values()) == server.requests == 3000
    assert counts["often"] == pytest.approx(2400, abs=130)


@pytest.mark.full
def test_one_request_every_six_seconds_works_with_a_server_that_closes_after_five():
    port = free_port()
    app = (
        "async def app(scope, receive, send):\n"
        "    await send({'type': 'http.response.start', 'status': 204, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': b''})\n"
    )
    code = f"{app}\nimport uvicorn\nuvicorn.run(app, port={port}, log_level='error', lifespan='off')"
    with subprocess.Popen([sys.executable, "-c", code]) as server:
        try:
            wait_for(lambda: processes.listeners((port,), [server.pid]), within_s=20, what="uvicorn")
            plan = plan_for(port, **at_rate(1 / 6, 18))
            report = report_of(plan, run_engine(plan))
        finally:
            server.terminate()
    assert report.status == {"204": 3}
    assert not report.errors
