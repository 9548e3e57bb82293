"""Scenarios against a server that remembers what it got: data, checks, captures, cookies, redirects and streams."""

import json
import socket
from collections import Counter
from itertools import count
from pathlib import Path

import pytest

from tests.support.loading import at_rate, errors_of, plan_for, report_of, target_at
from tests.support.servers import read_request, serve
from tests.support.shop_server import Shop, shop
from toombos_cli.base.results import Verdict
from toombos_cli.load.engine.fleet import run_engine, run_plan
from toombos_cli.load.observer import NOBODY
from toombos_cli.load.report import LoadReport
from toombos_cli.load.run import run_load
from toombos_cli.load.scenario import read_scenario
from toombos_cli.load.scenario_mix import scenario_mix
from toombos_cli.load.slo import LoadCriteria, parse_objectives

BUYER = """
[data.people]
file = "people.csv"

[[user]]
name = "buyer"

[[user.step]]
name = "login"
path = "/login"
json = { name = "${people.name}", key = "k-${uuid}", n = "${random.int}" }
cookies = true
capture = { token = "token" }
expect = { json = { name = "${people.name}" } }

[[user.step]]
name = "order"
path = "/orders"
headers = { Authorization = "Bearer ${token}" }
json = { item = "${counter}" }
cookies = true
capture = { order = "id" }
expect = { status = 201, json = { user = "${people.name}" } }
THINK

[[user.step]]
name = "look"
path = "/orders/${order}"
expect = { json = { id = "${order}" } }
"""


def run(file: Path, text: str, server: Shop, **settings) -> LoadReport:
    """Return the report of a scenario, whose counts add up."""
    file.write_text(text)
    (file.parent / "people.csv").write_text('name,team\n"Ann, A.",red\n"Bob ""B""",blue\nZoë,red\n', encoding="utf-8")
    lines = ({"name": f"N{number}", "at": {"zip": number}} for number in range(4))
    (file.parent / "people.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    keepalive = settings.get("keepalive", True)
    target = target_at(server.port)
    endpoints, users = scenario_mix(read_scenario(file), file, target, (), keepalive=keepalive, environment={})
    plan = plan_for(server.port, endpoints=endpoints, users=users, **settings)
    return report_of(plan, run_plan(plan, NOBODY) if plan.processes > 1 else run_engine(plan))


LOOPS = {
    "a closed loop": {"requests": 90, "connections": 3},
    "a closed loop in two processes": {"requests": 90, "connections": 4, "processes": 2},
    "a closed loop without keep-alive": {"requests": 60, "connections": 3, "keepalive": False},
    "an open loop": at_rate(150, 0.6),
    "a closed loop with pauses": {"requests": 60, "connections": 6, "think": "think_s = [0.01, 0.02]"},
    "an open loop with pauses": {**at_rate(150, 0.6), "think": "think_s = 0.02"},
    "a server that closes each connection": {"requests": 60, "connections": 3, "closes": True},
}


@pytest.mark.parametrize("settings", LOOPS.values(), ids=LOOPS)
def test_the_steps_of_a_user_see_its_own_data_captures_and_cookies(settings, tmp_path: Path):
    settings = dict(settings)
    think, closes = settings.pop("think", ""), settings.pop("closes", False)
    with shop(closes=closes) as server:
        report = run(tmp_path / "buyer.toml", BUYER.replace("THINK", think), server, **settings)
    assert report.unmet == ()
    assert report.counts.ok == report.counts.scheduled == sum(server.seen.values()) == settings.get("requests", 90)
    assert {login["name"] for login in server.logins} == {"Ann, A.", 'Bob "B"', "Zoë"}
    assert len({login["key"] for login in server.logins}) == len(server.logins)
    assert all(isinstance(login["n"], int) for login in server.logins)
    items = [order["item"] for order in server.orders]
    assert len(set(items)) == len(items), "a counter never gives a number twice"
    assert report.endpoints["buyer: login"].counts.ok == len(server.logins)
    assert 0 < len(server.orders) <= len(server.logins)


def test_a_user_pauses_between_its_steps(tmp_path: Path):
    with shop() as server:
        text = BUYER.replace("THINK", "think_s = 0.2")
        report = run(tmp_path / "buyer.toml", text, server, requests=12, connections=2)
    assert report.run.duration_s >= 0.4, "two rounds of each user have two pauses, the last of which ends the run"
    assert len(server.peers) == 2, "a pause keeps the connection"


def test_a_pause_does_not_outlast_the_run(tmp_path: Path):
    with shop() as server:
        text = '[[request]]\npath = "/"\nthink_s = 30\n'
        report = run(tmp_path / "slow.toml", text, server, duration_s=0.3, connections=2)
    assert report.run.duration_s < 5
    assert report.counts.ok == report.counts.scheduled == 2


MET = {
    "an expected 404": ('path = "/missing"\nexpect = { status = 404 }', ()),
    "one of several statuses": ('path = "/missing"\nexpect = { status = [200, 404] }', ()),
    "a class of statuses": ('path = "/missing"\nexpect = { status = "4xx" }', ()),
    "another status than expected": ('path = "/"\nexpect = { status = 201 }', [("HTTP 201", "HTTP 200")]),
    "a 404 that nobody expected": ('path = "/missing"\nexpect = { text = "." }', [("HTTP below 400", "HTTP 404")]),
    "a value in JSON": ('path = "/a"\nexpect = { json = { path = "/a" } }', ()),
    "another value in JSON": (
        'path = "/a"\nexpect = { json = { path = { matches = "^/b" } } }',
        [('path matches "^/b"', 'path "/a"')],
    ),
    "a header": ('path = "/"\nexpect = { response_headers = { Content-Type = "application/json" } }', ()),
    "a header that is missing": (
        'path = "/"\nexpect = { response_headers = { X-A = { exists = true } } }',
        [("X-A present", "X-A not there")],
    ),
    "a text": ('path = "/a"\nexpect = { text = "/[ab]" }', ()),
    "a text that is missing": (
        'path = "/a"\nexpect = { text = "zzz" }',
        [("a body that matches 'zzz'", '{"path": "/a"}')],
    ),
    "a limit of time": (
        'path = "/a"\nexpect = { latency_limit_ms = 0.0001 }',
        [("a response within 0.0001 ms", None)],
    ),
}


@pytest.mark.parametrize(("table", "unmet"), MET.values(), ids=MET)
def test_what_is_expected_decides_what_is_a_success(table, unmet, tmp_path: Path):
    with shop() as server:
        report = run(tmp_path / "one.toml", f"[[request]]\n{table}\n", server, requests=20, connections=2)
    assert [one.expected for one in report.unmet] == [expected for expected, _ in unmet]
    assert all(got is None or one.got == got for one, (_, got) in zip(report.unmet, unmet, strict=True))
    assert (report.counts.ok, report.counts.http_error) == ((0, 20) if unmet else (20, 0))
    assert sum(report.status.values()) == report.latency_us.response.count == 20
    assert all(one.count == 20 for one in report.unmet)


def test_a_failed_step_ends_the_round_of_its_user(tmp_path: Path):
    text = BUYER.replace("THINK", "").replace('"Bearer ${token}"', '"Bearer wrong"')
    with shop() as server:
        report = run(tmp_path / "buyer.toml", text, server, requests=40, connections=1)
    assert report.endpoints["buyer: login"].counts.ok == 20
    assert report.endpoints["buyer: order"].counts.http_error == 20
    assert report.endpoints["buyer: look"].counts.scheduled == 0
    assert report.status == {"200": 20, "401": 20}


REDIRECTS = {
    "within the target": ("/old", {"GET /old": 10, "GET /new?from=old": 10}, {"200": 10, "302": 10}),
    "to itself, ten times": ("/loop", {"GET /loop": 20}, {"302": 20}),
    "to the name that it was called by": ("/named", {"GET /named": 10, "GET /new": 10}, {"200": 10, "302": 10}),
    "to another host": ("/away", {"GET /away": 20}, {"302": 20}),
}


@pytest.mark.parametrize(("path", "seen", "status"), REDIRECTS.values(), ids=REDIRECTS)
def test_redirects_are_followed_on_request(path, seen, status, tmp_path: Path):
    text = f'[[request]]\npath = "{path}"\nfollow_redirects = true\nheaders = {{ host = "shop.test" }}\n'
    with shop() as server:
        report = run(tmp_path / "one.toml", text, server, requests=20, connections=1)
    assert server.seen == Counter(seen)
    assert report.status == status


def test_a_redirect_that_keeps_the_method_keeps_the_body(tmp_path: Path):
    text = '[[request]]\npath = "/post"\njson = { n = "${counter}" }\nfollow_redirects = true\n'
    with shop() as server:
        run(tmp_path / "one.toml", text, server, requests=6, connections=1)
    assert server.posted == [b'{"n": %d}' % number for number in (1, 1, 2, 2, 3, 3)]


@pytest.mark.parametrize(
    ("path", "is_kept"),
    [("/gone/-1", False), ("/gone/0", False), ("/gone/60", True)],
    ids=["a past age", "no age", "an age to come"],
)
def test_a_cookie_whose_time_is_over_is_not_sent_again(path, is_kept, tmp_path: Path):
    text = f'[[user]]\nname = "u"\n[[user.step]]\npath = "{path}"\ncookies = true\n'
    text += '[[user.step]]\npath = "/has"\ncookies = true\n'
    with shop() as server:
        run(tmp_path / "one.toml", text, server, requests=40, connections=1)
    assert server.seen["GET /has with a=1"] == (20 if is_kept else 0)


CHECKED = """
[[request]]
name = "bought"
path = "PATH"
follow_redirects = true
expect = { json = { n = { max = 2 } } }

[[request]]
name = "seen"
path = "/seen"
weight = 0.0001
"""
CHECKS = {
    "three of four are as expected": ("/n", "checks>=75%", 0.75, Verdict.WARN),
    "fewer are as expected than is demanded": ("/n", "checks>75%", 0.75, Verdict.FAIL),
    "one request is named": ("/n", "checks{bought}>=76%", 0.75, Verdict.FAIL),
    "half fail, which the objective on checks alone does not allow": ("/half", "checks>=40%", 0.5, Verdict.FAIL),
    "half fail, which an objective on errors allows": ("/half", "checks>=40%,error_rate<=50%", 0.5, Verdict.PASS),
    "of a redirect that is followed nothing is expected": ("/old/half", "checks>=60%", 0.5, Verdict.FAIL),
    "no response is not what was expected": ("/hangs-up", "checks>=75%", 0.75, Verdict.WARN),
}


@pytest.mark.parametrize(("path", "slo", "measured", "verdict"), CHECKS.values(), ids=CHECKS)
def test_an_objective_may_be_on_the_share_of_what_was_expected(path, slo, measured, verdict, tmp_path: Path):
    served = count()

    def respond(connection: socket.socket) -> None:
        while request := read_request(connection):
            if b" /old" in request:
                place = request.split(b" ")[1].removeprefix(b"/old")
                connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % place)
                continue
            number = next(served) % 4
            if b" /hangs-up" in request and number == 3:
                return
            body = b'{"n": %d}' % (number * 2 if b"half" in request else number)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    file = tmp_path / "mix.toml"
    file.write_text(CHECKED.replace("PATH", path))
    with serve(respond) as port:
        mix, users = scenario_mix(read_scenario(file), file, target_at(port), (), keepalive=True, environment={})
        requests = 48 if "old" in path else 24
        plan = plan_for(port, endpoints=mix, users=users, requests=requests, connections=1)
        for _ in range(5):  # on a busy machine the generator may lag, and the report is then invalid
            report = run_load(plan, criteria=LoadCriteria(objectives=parse_objectives(slo)))
            if report.generator.valid:
                break
    assert report.slo[0].measured == measured
    assert report.verdict is verdict


def test_cookies_are_kept_by_each_user_and_only_on_request(tmp_path: Path):
    text = '[[request]]\npath = "/cookie"\ncookies = true\ncapture = {}\nexpect = { json = { n = { min = 0 } } }\n'
    with shop() as server:
        kept = run(tmp_path / "one.toml", text.replace("min = 0", "max = 14"), server, requests=20, connections=2)
        dropped = run(tmp_path / "one.toml", text.replace("true", "false"), server, requests=20, connections=2)
    assert kept.counts.ok == 20, "about ten requests of each user, which count from 0"
    assert dropped.counts.ok == 20


STREAMS = {
    "so many events": ('path = "/stream/"\nevents = 5', 5, 20_000),
    "so long": ('path = "/stream/"\nlisten_s = 0.2', 10, 150_000),
    "a stream that ends": ('path = "/stream/3"\nlisten_s = 5', 3, 10_000),
}


@pytest.mark.parametrize(("table", "events", "least_us"), STREAMS.values(), ids=STREAMS)
def test_a_stream_has_a_first_byte_and_events(table, events, least_us, tmp_path: Path):
    with shop() as server:
        report = run(tmp_path / "one.toml", f"[[request]]\n{table}\n", server, requests=4, connections=2)
    assert report.counts.ok == 4
    (found,) = report.endpoints.values()
    assert found.events >= 4 * events
    assert report.latency_us.service.p50 >= least_us > report.latency_us.ttfb.p50


def test_a_stream_that_ends_before_its_events_is_not_what_was_expected(tmp_path: Path):
    text = '[[request]]\npath = "/stream/3"\nevents = 5\n'
    with shop() as server:
        report = run(tmp_path / "one.toml", text, server, requests=2, connections=1)
    assert [(one.expected, one.got) for one in report.unmet] == [("5 events", "3 events, then the end")]
    assert report.counts.ok == 0


DATA = {
    "a path": ('path = "/p/${people.name}?q=${people.name}"', "GET /p/Zo%C3%AB?q=Zo%C3%AB"),
    "a form": ('path = "/f"\nform = { a = "${people.name}", b = "x y" }', b"a=Zo%C3%AB&b=x+y"),
    "a text": ('path = "/f"\nbody = "100 % ${people.name}"', "100 % Zoë".encode()),
    "a part of a JSON text": ('path = "/f"\njson = { a = "<${people.name}>" }', b'{"a": "<Bob \\"B\\">"}'),
    "a key of JSON": ('path = "/f"\njson = { "${people.team}" = 1 }', b'{"red": 1}'),
}


@pytest.mark.parametrize(("table", "expected"), DATA.values(), ids=DATA)
def test_a_variable_is_encoded_for_its_place(table, expected, tmp_path: Path):
    text = f'[data.people]\nfile = "people.csv"\n[[request]]\n{table.replace("/f", "/post2")}\n'
    with shop() as server:
        report = run(tmp_path / "one.toml", text, server, requests=3, connections=1)
    assert report.counts.ok == 3
    assert expected in (server.posted if isinstance(expected, bytes) else server.seen)


def test_lines_are_shared_by_all_users_or_kept_by_each(tmp_path: Path):
    text = '[data.people]\nfile = "people.jsonl"\nper = "PER"\n[[request]]\npath = "/p/${people.at.zip}"\n'
    with shop() as server:
        run(tmp_path / "one.toml", text.replace("PER", "round"), server, requests=40, connections=2)
        run(tmp_path / "one.toml", text.replace("PER", "user"), server, requests=50, connections=2)
    assert [server.seen[f"GET /p/{number}"] for number in (2, 3)] == [10, 10]
    assert server.seen["GET /p/0"] + server.seen["GET /p/1"] == 20 + 50


def test_weights_are_the_shares_of_rounds(tmp_path: Path):
    text = '[[request]]\npath = "/a/${counter}"\nname = "a"\nweight = 3\n[[request]]\nname = "b"\npath = "/b"\n'
    with shop() as server:
        report = run(tmp_path / "one.toml", text, server, requests=800, connections=4)
    assert 540 <= report.endpoints["a"].counts.ok <= 660


def test_a_captured_line_break_never_becomes_a_header(tmp_path: Path):
    (tmp_path / "evil.jsonl").write_text(json.dumps({"x": "a\r\nX-Evil: 1"}))
    text = '[data.evil]\nfile = "evil.jsonl"\n[[request]]\npath = "/"\nheaders = { X-A = "${evil.x}" }\n'
    with shop() as server:
        report = run(tmp_path / "one.toml", text, server, requests=3, connections=1)
    assert errors_of(report) == {("scenario", "send"): 3}
    assert not server.seen
