"""Smoke tests of web applications as their users use them, against a real HTTP server."""

import gzip
import json
import re
import threading

import pytest
from werkzeug import Request, Response

from tests.support.ports import free_port
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.smoke.environment import read_environment
from toombos_cli.smoke.plan import make_plan
from toombos_cli.smoke.run import run_smoke


class Application:
    """A web application with a login form, a job, a paginated list, an upload, and a route that echoes its request."""

    def __init__(self):
        self.polls = 0
        self.requests = []
        self.mirrored = []
        self.lock = threading.Lock()
        self.elsewhere = ""

    def __call__(self, request: Request) -> Response:
        body = request.get_data(cache=True, parse_form_data=False)
        with self.lock:
            self.requests.append(request)
        name = request.path.strip("/").replace("/", "_").replace("-", "_").replace(".", "_")
        route = getattr(self, f"route_{name}", self.mirror)
        return route(request, body)

    def mirror(self, request, body):
        received = {
            "path": request.full_path if request.query_string else request.path,
            "method": request.method,
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "cookies": dict(request.cookies),
            "body": body.decode("utf-8", "replace"),
            "form": dict(request.form.lists()),
            "files": {
                name: [file.filename, file.mimetype, file.read().decode()] for name, file in request.files.items()
            },
        }
        received["type"] = request.headers.get("Content-Type")
        self.mirrored.append(received)
        return as_json(received)

    def route_health(self, request, body):
        return as_json({"status": "ok"})

    def route_login(self, request, body):
        if request.method == "GET":
            page = '<form><input type="hidden" name="csrf" value="t0k3n+/="></form>'
            response = Response(page, content_type="text/html; charset=utf-8")
            response.set_cookie("csrf", "t0k3n", path="/")
            return response
        if request.form.get("csrf") != "t0k3n+/=" or request.cookies.get("csrf") != "t0k3n":
            return Response("no token", 403)
        if (request.form.get("user"), request.form.get("password")) != ("ada", "a b&c=ü"):
            return Response("wrong password", 401)
        response = Response("", 303, headers={"Location": "/account"})
        response.set_cookie("sid", "session-of-ada", path="/", httponly=True)
        return response

    def route_account(self, request, body):
        if request.cookies.get("sid") != "session-of-ada":
            return Response("", 302, headers={"Location": "/login"})
        return as_json({"user": "ada"})

    def route_jobs_1(self, request, body):
        self.polls += 1
        return as_json({"state": "done" if self.polls >= 3 else "running", "polls": self.polls})

    def route_items(self, request, body):
        page = int(request.args.get("page", "1"))
        links = {1: "/items?page=2", 2: f"{request.host_url}items?page=3&x=a%2Fb", 3: None}
        return as_json({"items": [page], "next": links[page], "query": request.query_string.decode()})

    def route_relative_list(self, request, body):
        return as_json({"next": "item"})

    def route_away(self, request, body):
        return Response("", 302, headers={"Location": f"{self.elsewhere}/secret"})

    def route_near(self, request, body):
        return Response("", 302, headers={"Location": "away"})

    def route_loop(self, request, body):
        return Response("", 302, headers={"Location": "/loop"})

    def route_links(self, request, body):
        return as_json(
            {
                "near": f"http://localhost:{request.host.partition(':')[2]}/items",
                "away": f"{self.elsewhere}/x",
                "fragment": "/items#top",
                "user": "//user@127.0.0.1:1/",
            }
        )

    def route_headers(self, request, body):
        response = as_json({})
        response.headers.add("X-Count", "3")
        response.headers.add("X-Tag", "a")
        response.headers.add("X-Tag", "b")
        response.headers.add("Location", "/next?page=2")
        response.headers.add("Set-Cookie", "a=1; Path=/; HttpOnly")
        response.headers.add("Set-Cookie", "b=x=y; Path=/")
        return response

    def route_numbers(self, request, body):
        text = (
            '{"price": 1.10, "big": 9007199254740993, "one": 1.0, "t": true, "n": null, "o": {"k": 1.50}, "s": "a b"}'
        )
        return Response(text, content_type="application/json")

    def route_counter(self, request, body):
        sent = sum(r.path == "/hit" for r in self.requests)
        return as_json({"n": 9007199254740992 + sent, "size": 1})

    def route_gzip(self, request, body):
        headers = {"Content-Encoding": "gzip"}
        return Response(gzip.compress(b'{"word": "caf\xc3\xa9"}'), content_type="application/json", headers=headers)

    def route_latin(self, request, body):
        return Response("café".encode("latin-1"), content_type="text/html; charset=iso-8859-1")

    def route_bom(self, request, body):
        return Response(b"\xef\xbb\xbf" + b'{"word": "caf\xc3\xa9"}', content_type="application/json")

    def route_utf16(self, request, body):
        return Response('{"word": "café"}'.encode("utf-16"), content_type="application/json; charset=utf-16")

    def route_bad_gzip(self, request, body):
        return Response(b"not gzip", content_type="application/json", headers={"Content-Encoding": "gzip"})

    def route_empty_json(self, request, body):
        return Response(b"", content_type="application/json")

    def route_broken_json(self, request, body):
        return Response(b'{"a": ', content_type="application/json")

    def route_nan(self, request, body):
        return Response(b"NaN", content_type="application/json")

    def route_large_json(self, request, body):
        return Response(b'["' + b"x" * (17 * 1024 * 1024) + b'"]', content_type="application/json")


def as_json(value) -> Response:
    return Response(json.dumps(value), content_type="application/json")


@pytest.fixture
def application():
    return Application()


@pytest.fixture
def smoke(tmp_path, httpserver, application):
    """Return a function that runs steps against the application and returns their results by name."""
    httpserver.expect_request(re.compile(".*")).respond_with_handler(application)

    def run(steps: str, *, services: str = ""):
        service = f'[services.web]\ncommand = ["unused"]\nport = {httpserver.port}\n{services}'
        (tmp_path / "toombos.toml").write_text(service + steps)
        manifest = load_manifest(tmp_path)
        report = run_smoke(manifest, make_plan(manifest), environment=read_environment(manifest))
        return {result.name: result for result in report.steps}

    return run


def step(name: str, text: str) -> str:
    return f'[[smoke]]\nname = "{name}"\nservice = "web"\nwrites = false\n{text}\n'


LOGIN = [
    step("form", 'path = "/login"\ncapture = { csrf = { text = \'name="csrf" value="([^"]+)"\' } }'),
    step(
        "login",
        'path = "/login"\nmethod = "POST"\nstatus = 303\n'
        'form = { csrf = "${csrf}", user = "ada", password = "a b&c=ü" }\n'
        'response_headers = { Location = "/account" }\n'
        'response_cookies = { sid = { matches = "^session" }, other = { exists = false } }',
    ),
    step("account", 'path = "/account"\njson = { user = "ada" }'),
    step("stranger", 'path = "/account"\ncookies = false\nstatus = 302'),
]


def test_a_login_with_a_token_a_form_and_a_cookie(smoke):
    results = smoke("".join(LOGIN))
    assert {name: (r.verdict, r.got) for name, r in results.items() if r.verdict != "pass"} == {}


def test_a_login_that_redirects_is_followed_with_the_new_cookie(smoke):
    login = LOGIN[1].replace("status = 303", "follow_redirects = true").replace("Location = ", "Content-Type = ")
    login = login.replace('"/account"', '"application/json"') + 'json = { user = "ada" }\n'
    results = smoke(LOGIN[0] + login)
    assert (results["login"].verdict, results["login"].got) == ("pass", "HTTP 200")


def test_a_job_is_polled_until_it_is_done(smoke, application):
    done = step(
        "job",
        'path = "/jobs/1"\njson = { state = "done" }\ncapture = { polls = "polls" }\n'
        "until = { timeout_s = 20, every_s = 0.01 }",
    )
    results = smoke(done + step("after", 'path = "/x?n=${polls}"\njson = { path = "/x?n=3" }'))
    assert (results["job"].verdict, results["job"].attempts, results["after"].verdict) == ("pass", 3, "pass")
    assert "3 attempts" in results["job"].detail


def test_a_job_that_never_ends_fails_with_the_last_response(smoke):
    results = smoke(step("job", 'path = "/x"\njson = { state = "done" }\nuntil = { timeout_s = 0.3, every_s = 0.05 }'))
    job = results["job"]
    assert (job.verdict, job.expected, job.got) == ("fail", 'state "done"', "state not there")
    assert job.attempts > 1
    assert f"{job.attempts} attempts in" in job.detail


def test_a_list_in_pages_is_followed_by_its_links(smoke):
    pages = [
        step("page-1", 'path = "/items"\njson = { items = [1] }\ncapture = { next = "next" }'),
        step("page-2", 'path = "${next}"\njson = { items = [2] }\ncapture = { next = "$.next" }'),
        step("page-3", 'path = "${next}"\njson = { items = [3], query = "page=3&x=a%2Fb", next = { type = "null" } }'),
    ]
    results = smoke("".join(pages))
    assert [results[f"page-{i}"].verdict for i in (1, 2, 3)] == ["pass"] * 3


def test_a_link_from_a_header_and_a_relative_link_are_followed(smoke):
    steps = [
        step("headers", 'path = "/headers"\ncapture = { next = { header = "location" } }'),
        step("next", 'path = "${next}"\njson = { path = "/next?page=2" }'),
        step("list", 'path = "/relative/list"\ncapture = { item = "next" }'),
        step("item", 'path = "${item}"\njson = { path = "/relative/item" }'),
        step("links", 'path = "/links"\ncapture = { top = "fragment", near = "near" }'),
        step("near", 'path = "${near}"\njson = { items = [1] }'),
        step("top", 'path = "${top}"\njson = { items = [1] }'),
    ]
    assert {r.name: r.got for r in smoke("".join(steps)).values() if r.verdict != "pass"} == {}


# Set-Cookie, and the Cookie that the next request to this host sends
COOKIES = {
    "a cookie": ("a=1", "a=1"),
    "two": ("a=1; Path=/\nb=2", "a=1; b=2"),
    "the last of two": ("a=1\na=2", "a=2"),
    "of another path": ("a=1; Path=/other", None),
    "of its own path": ("a=1; Path=/cookies", "a=1"),
    "that has expired": ("a=1; Max-Age=0", None),
    "of another host": ("a=1; Domain=example.com", None),
    "for TLS, as browsers treat this machine": ("a=1; Secure", "a=1"),
    "with an equals sign and a blank": ("a=x=y z", "a=x=y z"),
}


@pytest.mark.parametrize(("written", "sent"), COOKIES.values(), ids=COOKIES)
def test_a_cookie_is_kept_for_the_next_step(smoke, application, written, sent):
    def route(request, body):
        response = as_json({})
        for line in written.split("\n"):
            response.headers.add("Set-Cookie", line)
        return response

    application.route_cookies = route
    smoke(
        step("set", 'path = "/cookies"')
        + step("read", 'path = "/cookies/read"')
        + step("without", 'path = "/cookies/read"\ncookies = false')
    )
    with_cookies, without = application.mirrored
    assert with_cookies["headers"].get("cookie") == sent
    assert "cookie" not in without["headers"]


def test_each_round_begins_without_cookies(smoke, application):
    smoke(LOGIN[0] + step("first", 'path = "/x"'))
    smoke(step("first", 'path = "/y"'))
    assert [m["cookies"] for m in application.mirrored] == [{"csrf": "t0k3n"}, {}]


@pytest.mark.parametrize("link", ["away", "user"])
def test_a_link_to_another_origin_is_an_error_and_is_not_followed(smoke, application, link):
    application.elsewhere = f"http://127.0.0.1:{free_port()}"
    results = smoke(step("links", f'path = "/links"\ncapture = {{ x = "{link}" }}') + step("x", 'path = "${x}"'))
    assert results["x"].verdict == "error"
    assert "another origin" in results["x"].detail


def test_a_redirect_to_another_origin_is_reported_and_not_followed(smoke, application):
    application.elsewhere = f"http://127.0.0.1:{free_port()}"
    results = smoke(
        step("near", 'path = "/near"\nfollow_redirects = true')
        + step("known", 'path = "/near"\nfollow_redirects = true\nstatus = 302')
        + step("loop", 'path = "/loop"\nfollow_redirects = true')
    )
    assert (results["near"].verdict, results["known"].verdict) == ("fail", "pass")
    assert f"HTTP 302, redirects to {application.elsewhere}/secret" in results["near"].got
    assert (results["loop"].verdict, results["loop"].got) == ("fail", "HTTP 302, redirects to /loop")


def test_a_redirect_to_another_service_of_the_manifest_is_followed(smoke, application, httpserver):
    application.elsewhere = f"http://localhost:{httpserver.port}"
    other = f'[services.other]\ncommand = ["unused"]\nport = {httpserver.port}\nhost = "localhost"\n'
    results = smoke(
        step("near", 'path = "/near"\nfollow_redirects = true\njson = { path = "/secret" }'), services=other
    )
    assert results["near"].verdict == "pass"


BODIES = {
    "JSON": ("body = { a = [1, true] }", {"body": '{"a":[1,true]}', "type": "application/json"}),
    "an empty object": ("body = {}", {"body": "{}", "type": "application/json"}),
    "false": ("body = false", {"body": "false", "type": "application/json"}),
    "a text as JSON": ('body = "a"', {"body": '"a"', "type": "application/json"}),
    "a text of another type": (
        'body = "user=a&pass=b"\nheaders = { content-type = "application/x-www-form-urlencoded" }',
        {"body": "user=a&pass=b", "type": "application/x-www-form-urlencoded", "form": {"user": ["a"], "pass": ["b"]}},
    ),
    "a text of another kind of JSON": (
        'body = "a"\nheaders = { Content-Type = "application/vnd.api+json" }',
        {"body": '"a"', "type": "application/vnd.api+json"},
    ),
    "raw XML": (
        'raw = \'<a>"${run.id}"</a>\'\nheaders = { Content-Type = "application/xml" }',
        {"body": re.compile(r'^<a>"[0-9a-f]{12}"</a>$'), "type": "application/xml"},
    ),
    "raw text in another charset": (
        'raw = "café"\nheaders = { Content-Type = "text/plain; charset=latin-1" }',
        {"body": "caf\ufffd", "type": "text/plain; charset=latin-1"},
    ),
    "a form": (
        'form = { a = "b c&d=ü", n = 1, t = true, l = ["x", 2] }',
        {
            "form": {"a": ["b c&d=ü"], "n": ["1"], "t": ["true"], "l": ["x", "2"]},
            "type": "application/x-www-form-urlencoded",
        },
    ),
    "files": (
        'form = { note = "hi" }\nheaders = { content-type = "multipart/form-data" }\n[smoke.files]\n'
        'a = { path = "data/a.csv" }\n'
        'b = { content = "${run.id}", name = "b.bin", type = "application/x-b" }',
        {
            "form": {"note": ["hi"]},
            "files": {
                "a": ["a.csv", "text/csv", "x,y"],
                "b": ["b.bin", "application/x-b", re.compile("^[0-9a-f]{12}$")],
            },
            "type": re.compile("^multipart/form-data; boundary="),
        },
    ),
}


@pytest.mark.parametrize(("text", "wanted"), BODIES.values(), ids=BODIES)
def test_a_body_arrives_as(smoke, application, tmp_path, text, wanted):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("x,y")
    results = smoke(step("send", f'path = "/x"\nmethod = "POST"\ncapture = {{ got = "$" }}\n{text}'))
    assert results["send"].verdict == "pass", results["send"]
    (received,) = application.mirrored
    for key, value in wanted.items():
        assert _fits(received[key], value), (key, received[key], value)


def _fits(received, wanted):
    if isinstance(wanted, re.Pattern):
        return wanted.search(received) is not None
    if isinstance(wanted, list) and isinstance(received, list):
        return len(wanted) == len(received) and all(map(_fits, received, wanted))
    if isinstance(wanted, dict):
        return wanted.keys() == received.keys() and all(_fits(received[key], wanted[key]) for key in wanted)
    return received == wanted


FILES = {
    "a file outside the project": ("../other.txt", "is not in the project"),
    "an absolute file outside the project": ("/etc/hostname", "is not in the project"),
    "a link that leads outside": ("link", "is not in the project"),
    "a missing file": ("none.txt", "No such file"),
    "a directory": ("data", "is a directory"),
    "a FIFO": ("fifo", "is a FIFO"),
}


@pytest.mark.parametrize(("path", "words"), FILES.values(), ids=FILES)
def test_a_file_is_not_sent_if_it_is(smoke, application, tmp_path, path, words):
    import os

    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "fifo")
    results = smoke(step("send", f'path = "/x"\nmethod = "POST"\nfiles = {{ a = {{ path = "{path}" }} }}'))
    assert results["send"].verdict == "error"
    assert words in results["send"].detail
    assert not [r for r in application.requests if r.path == "/x"]


# conditions and captures on /headers
HEADERS = {
    "a header": ('response_headers = { X-Count = "3" }', "pass"),
    "a header in another case": ('response_headers = { x-count = "3" }', "pass"),
    "a header as a number": ("response_headers = { X-Count = { min = 3, max = 3 } }", "pass"),
    "a header that is too large": ("response_headers = { X-Count = { max = 2 } }", "fail"),
    "a repeated header": ('response_headers = { X-Tag = "a, b" }', "pass"),
    "an expression": ('response_headers = { Location = { matches = "^/next" } }', "pass"),
    "another header": ('response_headers = { Location = "/other" }', "fail"),
    "a missing header": ('response_headers = { X-None = "" }', "fail"),
    "a header that is absent": ("response_headers = { X-None = { exists = false } }", "pass"),
    "a cookie": ('response_cookies = { a = "1", b = "x=y" }', "pass"),
    "another cookie": ('response_cookies = { a = "2" }', "fail"),
    "a missing cookie": ("response_cookies = { c = { exists = true } }", "fail"),
    "a capture of a missing header": ('capture = { x = { header = "X-None" } }', "fail"),
    "a capture of a missing cookie": ('capture = { x = { cookie = "c" } }', "fail"),
    "a capture of a text that is not there": ('capture = { x = { text = "(zzz)" } }', "fail"),
    "a capture of a cookie": ('capture = { x = { cookie = "a" } }', "pass"),
}


@pytest.mark.parametrize(("text", "verdict"), HEADERS.values(), ids=HEADERS)
def test_headers_and_cookies_are_judged(smoke, text, verdict):
    result = smoke(step("headers", f'path = "/headers"\n{text}'))["headers"]
    assert result.verdict == verdict, result
    assert bool(verdict == "pass") == (result.got == "HTTP 200")


CODINGS = {
    "gzip": ("gzip", 'json = { word = "café" }'),
    "latin-1": ("latin", 'text = "café"'),
    "a byte order mark": ("bom", 'json = { word = "café" }'),
    "UTF-16": ("utf16", 'json = { word = "café" }'),
}


@pytest.mark.parametrize(("path", "text"), CODINGS.values(), ids=CODINGS)
def test_a_body_is_read_in_its_coding_and_charset(smoke, path, text):
    assert smoke(step("body", f'path = "/{path}"\n{text}'))["body"].verdict == "pass"


UNDEMANDED = ["empty_json", "broken_json", "nan", "large_json", "bad_gzip"]


@pytest.mark.parametrize("path", UNDEMANDED)
def test_a_step_that_asks_only_for_a_status_demands_nothing_of_the_body(smoke, path):
    results = smoke(step("status", f'path = "/{path}"') + step("json", f'path = "/{path}"\njson = {{ a = 1 }}'))
    assert (results["status"].verdict, results["json"].verdict) == ("pass", "fail"), results


def test_a_note_says_why_a_body_that_nothing_is_demanded_of_cannot_be_read(smoke, application):
    schema = {"200": {"content": {"application/json": {"schema": {"type": "object"}}}}}
    document = {"openapi": "3.1.0", "paths": {"/bad_gzip": {"get": {"responses": schema}}}}
    application.route_openapi = lambda request, body: as_json(document)
    for services in ("", 'openapi = "/openapi"\n'):
        result = smoke(step("status", 'path = "/bad_gzip"'), services=services)["status"]
        assert result.verdict == "pass"
        assert "gzip" in result.note


def test_a_captured_value_arrives_everywhere_as_it_was_received(smoke, application):
    names = {"price": "1.10", "big": "9007199254740993", "one": "1.0", "t": "true", "n": "null", "o": '{"k":1.50}'}
    capture = ", ".join(f'{name} = "{name}"' for name in (*names, "s"))
    steps = [step("numbers", f'path = "/numbers"\ncapture = {{ {capture} }}')]
    for name in (*names, "s"):
        steps.append(
            step(
                f"send-{name}",
                f'method = "POST"\npath = "/echo?q=${{{name}}}"\nheaders = {{ X-Value = "${{{name}}}" }}\n'
                f'body = {{ v = "${{{name}}}", t = "<${{{name}}}>" }}',
            )
        )
        steps.append(
            step(f"again-{name}", f'path = "/numbers"\njson = {{ {name} = "${{{name}}}" }}\ntext = "${{{name}}}"')
        )
    results = smoke("".join(steps))
    text = results["again-o"]
    assert text.verdict == "fail"  # the server writes a blank that JSON does not need
    assert {r.name for r in results.values() if r.verdict != "pass"} == {"again-o"}
    echoes = [r for r in application.requests if r.path == "/echo"]
    for request, (name, spelled) in zip(echoes, (names | {"s": "a b"}).items(), strict=True):
        assert request.args["q"] == request.headers["X-Value"] == spelled, name
        value = spelled if name != "s" else '"a b"'
        inner = json.dumps(f"<{spelled}>")
        assert request.get_data().decode() == f'{{"v":{value},"t":{inner}}}'


def test_a_neighbour_beyond_2_to_the_53_is_another_number(smoke):
    result = smoke(step("big", 'path = "/numbers"\njson = { big = 9007199254740992 }'))["big"]
    assert (result.verdict, result.got) == ("fail", "big 9007199254740993")


def test_counters_beyond_2_to_the_53_rise_by_a_captured_number(smoke):
    steps = step("size", 'path = "/counter"\ncapture = { size = "size", where = "$.size" }') + step(
        "hit",
        'path = "/hit"\ncounters = [{ service = "web", path = "/counter?${where}", json = "n", rises_by = "${size}" }]',
    )
    results = smoke(steps)
    assert results["hit"].verdict == "pass", results["hit"]
    wrong = smoke(steps.replace('"${size}"', "2"))["hit"]
    assert (wrong.expected, wrong.got) == ("web n rises by 2", "web n rose by 1")


def test_a_slow_expression_is_an_error_of_the_step_alone(smoke, application, monkeypatch):
    from toombos_cli.smoke import exchange

    monkeypatch.setattr(exchange, "_JUDGE_S", 0.3)
    application.route_slow = lambda request, body: Response("a" * 60 + "b")
    results = smoke(step("slow", 'path = "/slow"\ntext = "(a+)+$"') + step("next", 'path = "/x"'))
    assert (results["slow"].verdict, results["next"].verdict) == ("error", "pass")
    assert "could not be judged in time" in results["slow"].detail


def test_basic_authentication_is_a_header(smoke, application):
    import base64

    key = base64.b64encode(b"ada:secret").decode()
    results = smoke(step("basic", f'path = "/x"\nheaders = {{ Authorization = "Basic {key}" }}'))
    assert results["basic"].verdict == "pass"
    assert application.requests[-1].authorization.username == "ada"


def test_options_and_head_are_requests_that_read(smoke):
    results = smoke(
        '[[smoke]]\nname = "options"\nservice = "web"\nmethod = "OPTIONS"\npath = "/x"\njson = { method = "OPTIONS" }\n'
        '[[smoke]]\nname = "head"\nservice = "web"\nmethod = "HEAD"\npath = "/x"\n'
    )
    assert (results["options"].verdict, results["head"].verdict) == ("pass", "pass")
