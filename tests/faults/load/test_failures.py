"""Every way in which a request can fail has its class and phase, is counted exactly, and is never retried."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.loading import at_rate, errors_of, plan_for, report_of
from tests.support.ports import free_port
from tests.support.servers import black_hole, hang, raw, read_request, reset, serve, serve_tls
from toombos_cli.load.engine.fleet import run_engine
from toombos_cli.load.run import run_load
from toombos_cli.load.slo import LoadCriteria

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def speak_first(connection: socket.socket) -> None:
    """Greet the client, and wait until it hangs up."""
    connection.sendall(b"220 mail.example.com ESMTP\r\n")
    hang(connection)


FAILURES = [
    ("the connection is reset before the first byte", reset, ("reset", "wait")),
    ("the connection is closed before the first byte", raw(b""), ("eof", "wait")),
    ("the response is garbage", raw(b"220 mail.example.com ESMTP\r\n"), ("malformed", "wait")),
    ("the body is cut off", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi"), ("truncated", "body")),
    ("the head is cut off", raw(b"HTTP/1.1 200 OK\r\nContent-Le"), ("truncated", "body")),
    ("a chunk is cut off", raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi"), ("truncated", "body")),
    (
        "a chunk has no valid size",
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        ("malformed", "body"),
    ),
    ("the body is longer than announced", raw(OK + b"surplus"), ("malformed", "body")),
    ("there are two responses", raw(OK + OK), ("malformed", "body")),
    ("there is no response", hang, ("timeout", "wait")),
    ("the server speaks first", speak_first, ("malformed", "wait")),
]


@pytest.mark.parametrize(("handler", "expected"), [f[1:] for f in FAILURES], ids=[f[0] for f in FAILURES])
def test_each_failure_has_its_class_and_phase(handler, expected):
    with serve(handler) as port:
        plan = plan_for(port, requests=6, connections=2, timeout_s=0.3)
        report = report_of(plan, run_engine(plan))
    assert errors_of(report) == {expected: 6}
    assert report.counts.ok == 0


def test_a_timeout_counts_in_the_tail_as_a_lower_bound():
    with serve(hang) as port:
        plan = plan_for(port, requests=4, connections=4, timeout_s=0.3)
        report = report_of(plan, run_engine(plan))
    assert report.counts.censored == report.latency_us.response.censored == 4
    assert report.latency_us.response.p50 >= 300_000


def test_a_body_that_never_ends_is_a_timeout_in_the_body_phase():
    def drip(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi")
        while connection.recv(1024):
            pass

    with serve(drip) as port:
        plan = plan_for(port, requests=2, connections=1, timeout_s=0.3)
        report = report_of(plan, run_engine(plan))
    assert errors_of(report) == {("timeout", "body"): 2}


def test_each_refused_connection_is_a_failed_request():
    plan = plan_for(free_port(), requests=6, connections=3)
    report = report_of(plan, run_engine(plan))
    assert errors_of(report) == {("refused", "connect"): 6}
    assert report.errors[0]["errno"] == "ECONNREFUSED"


def test_a_black_hole_is_a_timeout_in_the_connect_phase():
    with black_hole() as port:
        plan = plan_for(port, timeout_s=0.3, **at_rate(20, 0.5))
        report = report_of(plan, run_engine(plan))
    assert errors_of(report) == {("timeout", "connect"): 10}
    assert report.counts.censored == report.latency_us.response.censored == 10
    assert report.latency_us.service.count == 0


def test_a_tls_target_that_speaks_plain_http_fails_in_the_tls_phase():
    def answer_plainly(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(OK)

    with serve(answer_plainly) as port:
        plan = plan_for(port, scheme="https", requests=2, connections=1)
        report = report_of(plan, run_engine(plan))
    assert errors_of(report) == {("tls", "tls"): 2}


def test_an_unknown_certificate_is_refused_unless_verification_is_off(tmp_path):
    from dataclasses import replace

    with serve_tls(answer_for_ever, tmp_path) as port:
        plan = plan_for(port, scheme="https", requests=20, connections=2)
        strict = replace(plan, target=replace(plan.target, verify_tls=True))
        refused = report_of(strict, run_engine(strict))
        taken = report_of(plan, run_engine(plan))
        advised = run_load(strict, criteria=LoadCriteria())
    assert errors_of(refused) == {("certificate", "tls"): 20}
    assert "this machine does not trust the certificate: --insecure accepts any certificate" in advised.notes
    assert taken.counts.ok == 20


def answer_for_ever(connection: socket.socket) -> None:
    """Keep the connection open and respond to each request."""
    while read_request(connection):
        connection.sendall(OK)


@contextlib.contextmanager
def closes_idle_connections(after_s: float) -> Iterator[int]:
    """Run a server that closes a connection after it was idle for `after_s`, as uvicorn does after 5 s."""

    def handle(connection: socket.socket) -> None:
        connection.settimeout(after_s)
        with contextlib.suppress(TimeoutError):
            answer_for_ever(connection)

    with serve(handle) as port:
        yield port


def test_an_idle_connection_that_the_server_closes_is_not_an_error():
    with closes_idle_connections(0.2) as port:
        plan = plan_for(port, **at_rate(2, 2))
        report = report_of(plan, run_engine(plan))
    assert report.counts.ok == 4
    assert not report.errors
    assert report.latency_us.connect.count == 4


def test_a_long_idle_connection_that_ends_as_a_request_is_sent_is_stale_reuse():
    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK)
        read_request(connection)  # the second request arrives just after the server has decided to close

    with serve(handle) as port:
        plan = plan_for(port, retry_stale=False, **at_rate(0.8, 2.5))
        report = report_of(plan, run_engine(plan))
    assert errors_of(report) == {("stale_reuse", "wait"): 1}
    assert report.counts.ok == 1


def test_requests_succeed_again_after_a_server_restarts():
    def two_lives(listener: socket.socket, port: int) -> None:
        with listener, listener.accept()[0] as connection:
            for _ in range(5):
                read_request(connection)
                connection.sendall(OK)
        time.sleep(0.3)  # nothing listens now, so connections are refused
        with socket.create_server(("127.0.0.1", port)) as second, second.accept()[0] as connection:
            answer_for_ever(connection)

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = threading.Thread(target=two_lives, args=(listener, port))
    server.start()
    plan = plan_for(port, requests=40, connections=1)
    report = report_of(plan, run_engine(plan))
    server.join()
    assert report.counts.scheduled == 40
    assert report.counts.ok > 5
    assert {key[0] for key in errors_of(report)} <= {"refused", "eof", "reset"}
