"""HTTP/2: its responses are counted like any others, and each way to fail has the class that it has in HTTP/1.1."""

import json
import socket
import ssl
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.http2_server import Http2Request, http2
from tests.support.loading import at_rate, endpoint, errors_of, plan_for, report_of, target_at
from tests.support.runner import Toombos, data_of
from tests.support.servers import answer, hang, raw, serve, serve_tls
from toombos_cli.load.engine.fleet import run_engine
from toombos_cli.load.plan import LoadPlan
from toombos_cli.load.report import LoadReport
from toombos_cli.load.scenario import read_scenario
from toombos_cli.load.scenario_mix import scenario_mix
from toombos_cli.probes.endpoint import Endpoint

LOOPS = {"a closed loop": {"requests": 30, "connections": 3}, "an open loop": at_rate(60, 0.5)}
PROTOCOL_ERROR, REFUSED_STREAM, ENHANCE_YOUR_CALM, HTTP_1_1_REQUIRED = 1, 7, 11, 13
HEAD = b"\0\0\1\1\4\0\0\0\1\x88"  # HEADERS of stream 1: status 200


def over_http2(plan: LoadPlan) -> LoadPlan:
    """Return the plan for a target that is to be asked in HTTP/2."""
    return replace(plan, target=replace(plan.target, endpoint=Endpoint(http2=True)))


def run(port: int, **settings) -> LoadReport:
    """Return the report of a run in HTTP/2, whose counts add up."""
    plan = over_http2(plan_for(port, **settings))
    return report_of(plan, run_engine(plan))


def hang_up(request: Http2Request, frames: bytes = b"") -> None:
    """Send these frames, then end the connection in order."""
    request.send(frames)
    request.connection.shutdown(socket.SHUT_WR)
    while request.connection.recv(1024):
        pass
    raise ConnectionAbortedError


FAILURES = {
    "a server of HTTP/1": (raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "malformed", "wait", ""),
    "a connection that is closed without a response": (http2(hang_up), "eof", "wait", ""),
    "no response": (http2(lambda request: None), "timeout", "wait", ""),
    "no HTTP at all": (hang, "timeout", "wait", ""),
    "a refused stream": (
        http2(lambda request: request.session.reset_stream(request.stream, REFUSED_STREAM)),
        "refused",
        "wait",
        "REFUSED_STREAM",
    ),
    "a stream that is reset": (
        http2(lambda request: request.session.reset_stream(request.stream, PROTOCOL_ERROR)),
        "reset",
        "wait",
        "PROTOCOL_ERROR",
    ),
    "a stream that is reset after its head": (
        http2(lambda request: request.send(HEAD + b"\0\0\4\3\0\0\0\0\1\0\0\0\xff")),
        "reset",
        "body",
        "255",
    ),
    "a connection that is ended for an error": (
        http2(lambda request: request.go_away(last=request.stream, error=HTTP_1_1_REQUIRED)),
        "reset",
        "wait",
        "HTTP_1_1_REQUIRED",
    ),
    "a connection that is ended for too many requests": (
        http2(lambda request: request.go_away(last=0, error=ENHANCE_YOUR_CALM)),
        "reset",
        "wait",
        "ENHANCE_YOUR_CALM",
    ),
    "a connection that takes no request at all": (http2(lambda request: request.go_away(last=0)), "eof", "wait", ""),
    "a body that is cut off": (http2(lambda request: hang_up(request, HEAD)), "truncated", "body", ""),
    "a body that is shorter than announced": (
        http2(lambda request: request.answer(b"ok", content_length="3")),
        "malformed",
        "body",
        "",
    ),
    "a head that cannot be decoded": (
        http2(lambda request: request.send(b"\0\0\1\1\4\0\0\0\1\xff")),
        "malformed",
        "wait",
        "",
    ),
    "a frame that is too long": (http2(lambda request: request.send(b"\xff" * 100)), "malformed", "wait", ""),
}


@pytest.mark.parametrize(("handler", "error_class", "phase", "name"), FAILURES.values(), ids=FAILURES)
def test_each_failure_has_its_class_and_phase(handler, error_class, phase, name):
    with serve(handler) as port:
        report = run(port, requests=4, connections=2, timeout_s=0.3 if error_class == "timeout" else 10)
    assert errors_of(report) == {(error_class, phase): 4}
    assert {group["errno"] for group in report.errors} == {name}
    assert (report.counts.ok, report.counts.retried) == (0, 0)


def last_of_three(request: Http2Request) -> None:
    """Announce the end of the connection before its third response, as nginx does."""
    if request.number == 3:
        request.go_away(last=request.stream)
    request.answer()


def closing_after_each(request: Http2Request) -> None:
    """Announce the end of the connection with each response."""
    request.answer()
    request.go_away(last=request.stream)


def one_each(request: Http2Request) -> None:
    """Process one request of each connection, and no other that is sent to it."""
    if request.number == 1:
        request.answer()
    else:
        request.go_away(last=1)


def with_hints(request: Http2Request) -> None:
    """Send an interim response first."""
    request.session.send_headers(request.stream, [(":status", "103"), ("link", "</style.css>; rel=preload")])
    request.answer(x_more="1")


WELL = {
    "responses": (lambda request: request.answer(), 0),
    "the end of the connection is announced before its last response": (last_of_three, 0),
    "the end of the connection is announced with a response": (closing_after_each, 0),
    "a request that the server has not processed is sent again": (one_each, 10),
    "early hints (103)": (with_hints, 0),
    "a response of many frames": (lambda request: request.answer(b"x" * 60_000), 0),
}


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize(("respond", "retried"), WELL.values(), ids=WELL)
def test_each_response_is_counted_once(respond, retried, loop):
    with serve(http2(respond)) as port:
        report = run(port, **loop)
    assert (report.counts.ok, report.errors) == (30, ())
    assert report.counts.retried >= retried
    assert bool(report.counts.retried) is bool(retried)
    assert report.latency_us.ttfb.count == report.latency_us.response.count == 30


def test_a_request_that_was_not_processed_fails_as_stale_if_it_may_not_be_sent_again():
    with serve(http2(one_each)) as port:
        report = run(port, requests=20, connections=1, retry_stale=False)
    assert errors_of(report) == {("stale_reuse", "wait"): 10}
    assert report.counts.network_fault == 10


def test_requests_arrive_as_they_were_given():
    seen: Counter[tuple[bytes, ...]] = Counter()
    large = b"x" * 400_000

    def respond(request: Http2Request) -> None:
        names = (b":method", b":path", b":authority", b":scheme", b"x-tag", b"connection")
        seen[(*(request.headers.get(name, b"") for name in names), b"%d" % len(request.body))] += 1
        request.answer(b"" if request.headers[b":method"] == b"HEAD" else b"no", status=200 + 204 * (not request.body))

    with serve(http2(respond)) as port:
        place = b"127.0.0.1:%d" % port
        head = endpoint(port, method="HEAD", path="/h", name="h", headers=(("X-Tag", "1"),))
        post = endpoint(port, method="POST", path="/p%20?q=1", name="p", body=large, keepalive=False)
        reports = [run(port, requests=6, connections=2, endpoints=(one,)) for one in (head, post)]
    assert seen == {
        (b"HEAD", b"/h", place, b"http", b"1", b"", b"0"): 6,
        (b"POST", b"/p%20?q=1", place, b"http", b"", b"", b"400000"): 6,
    }
    assert [report.status for report in reports] == [{"404": 6}, {"200": 6}]


SCENARIO = """
[[user]]
name = "buyer"

[[user.step]]
name = "login"
path = "/login"
json = { name = "${counter}" }
capture = { token = "token" }
expect = { json = { n = { min = 1 } } }

[[user.step]]
name = "look"
path = "/old"
headers = { Authorization = "Bearer ${token}" }
follow_redirects = true
expect = { status = 200, text = "^ok" }

[[user.step]]
name = "listen"
path = "/events"
events = 2
"""


def test_a_scenario_has_its_checks_captures_redirects_and_streams(tmp_path: Path):
    seen: Counter[bytes] = Counter()

    def respond(request: Http2Request) -> None:
        path = request.headers[b":path"]
        seen[path] += 1
        if path == b"/login":
            request.answer(json.dumps({"token": "t-1", "n": json.loads(request.body)["name"]}).encode())
        elif path == b"/old":
            request.answer(b"", status=302, location="/new")
        elif path == b"/new":
            request.answer(b"ok" if request.headers[b"authorization"] == b"Bearer t-1" else b"no")
        else:
            request.session.send_headers(request.stream, [(":status", "200"), ("content-type", "text/event-stream")])
            request.session.send_data(request.stream, b"data: 1\n\n: comment\n\ndata: 2\n\n")

    file = tmp_path / "mix.toml"
    file.write_text(SCENARIO)
    with serve(http2(respond)) as port:
        mix, users = scenario_mix(read_scenario(file), file, target_at(port), (), keepalive=True, environment={})
        report = run(port, requests=40, connections=1, endpoints=mix, users=users)
    assert (report.counts.ok, report.unmet, report.errors) == (40, (), ())
    assert seen == {b"/login": 10, b"/old": 10, b"/new": 10, b"/events": 10}
    assert sum(found.events for found in report.endpoints.values()) == 20


AGREED = {
    "the server chooses HTTP/2": (http2(lambda request: request.answer()), ["h2"], "2"),
    "the server knows no HTTP/2": (answer(b"ok"), ["http/1.1"], "1.1"),
}


@pytest.mark.parametrize(("handler", "offers", "version"), AGREED.values(), ids=AGREED)
def test_with_tls_the_server_chooses_the_version(handler, offers, version, tmp_path: Path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Authority(tmp_path).issue())
    context.set_alpn_protocols(offers)
    with serve_tls(handler, tmp_path, context) as port:
        plan = over_http2(plan_for(port, scheme="https", requests=6, connections=2))
        outcome = run_engine(plan)
    assert (report_of(plan, outcome).counts.ok, outcome.http_versions) == (6, {version})


def test_the_manifest_says_that_a_service_speaks_http2(toombos: Toombos, project: Path):
    with serve(http2(lambda request: request.answer())) as port:
        (project / "toombos.toml").write_text(
            f'[services.app]\ncommand = ["app"]\nport = {port}\nhttp2 = true\n[load]\nservice = "app"\n'
        )
        done = toombos("load", "-n", "20", "-c", "2", "--json")
    assert done.returncode == 0, done.stderr
    data = data_of(done)
    assert data["counts"]["ok"] == 20
    assert any(note.startswith("HTTP/2: each connection carries one request at a time") for note in data["notes"])
