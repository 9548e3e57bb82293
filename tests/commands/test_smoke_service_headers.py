"""Smoke tests of a service whose manifest table has headers: a name of its own, a key that every request needs."""

import json
import re

import pytest
from werkzeug import Request, Response

from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.smoke.environment import read_environment
from toombos_cli.smoke.plan import make_plan
from toombos_cli.smoke.run import run_smoke

HOST = "shop.example.com"
KEY = "key-of-the-shop-7"
SERVICE_HEADERS = f'headers = {{ Host = "{HOST}", X-Key = "${{env.SHOP_KEY}}", X-Unset = "${{env.SHOP_UNSET}}" }}\n'


class Shop:
    """A service that refuses other hosts and wrong keys, and notes what it receives."""

    def __init__(self):
        self.requests = []
        self.orders = 0
        self.set_cookie = ""

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        if request.host != HOST or request.headers.get("X-Key") != KEY:
            return as_json({"detail": "unknown host or key"}, 400)
        if request.path == "/orders" and request.method == "POST":
            self.orders += 1
            return as_json({"id": 7}, 201, Location=f"http://{HOST}/orders/7")
        if request.path == "/orders/7" and request.method == "DELETE":
            self.orders -= 1
            return Response("", 204)
        if request.path == "/login":
            headers = {"Set-Cookie": self.set_cookie} if self.set_cookie else {}
            return as_json({}, 302, Location=f"http://{HOST}/account", **headers)
        if request.path == "/openapi.json":
            schema = {"type": "object", "required": ["orders"]}
            answers = {"200": {"content": {"application/json": {"schema": schema}}}}
            return as_json({"openapi": "3.1.0", "paths": {"/stats": {"get": {"responses": answers}}}})
        links = {"http": f"http://{HOST}/stats", "https": f"https://{HOST}/stats", "away": "http://example.org/stats"}
        return as_json({"status": "ok", "orders": self.orders, "links": links, "cookies": dict(request.cookies)})


def as_json(value, status=200, **headers) -> Response:
    return Response(json.dumps(value), status, content_type="application/json", headers=headers)


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture
def smoke(tmp_path, httpserver, shop, monkeypatch):
    """Return a function that runs steps against the shop and returns their results by name."""
    httpserver.expect_request(re.compile(".*")).respond_with_handler(shop)
    monkeypatch.setenv("SHOP_KEY", KEY)

    def run(*steps: str, service: str = SERVICE_HEADERS):
        text = f'[services.shop]\ncommand = ["unused"]\nport = {httpserver.port}\n{service}'
        (tmp_path / "toombos.toml").write_text(text + "".join(steps))
        manifest = load_manifest(tmp_path)
        report = run_smoke(manifest, make_plan(manifest), environment=read_environment(manifest))
        assert report.left_behind == ()
        return {result.name: result for result in report.steps}

    return run


def step(name: str, text: str) -> str:
    return f'[[smoke]]\nname = "{name}"\nservice = "shop"\nwrites = false\n{text}\n'


COUNTED = 'counters = [{ service = "shop", path = "/stats", json = "orders", rises_by = 1 }]\n'
ORDER = 'path = "/orders"\nmethod = "POST"\nstatus = 201\n'
STEPS = {
    "a step": [step("x", 'path = "/stats"')],
    "a counter": [step("x", ORDER + COUNTED)],
    "a counter by a captured link": [
        step("links", 'path = "/stats"\ncapture = { stats = "links.http" }'),
        step("x", ORDER + COUNTED.replace("/stats", "${stats}")),
    ],
    "a cleanup": [step("x", ORDER + 'cleanup = { path = "/orders/7", status = [204] }')],
    "a cleanup by a captured link": [
        step("x", ORDER + 'capture = { order = { header = "Location" } }\ncleanup = { path = "${order}" }')
    ],
    "the condition of a cleanup": [
        step("x", ORDER + 'cleanup = { path = "/orders/7", if_at_start = { path = "/stats", json = { orders = 0 } } }')
    ],
    "the condition of a cleanup by a captured link": [
        step("links", 'path = "/stats"\ncapture = { stats = "links.http" }'),
        step(
            "x",
            ORDER + 'cleanup = { path = "/orders/7", if_at_start = { path = "${stats}", json = { orders = 0 } } }',
        ),
    ],
    "the OpenAPI document": [step("x", 'path = "/stats"\njson_schema = true')],
    "a link with the name of the service": [
        step("links", 'path = "/stats"\ncapture = { next = "links.http" }'),
        step("x", 'path = "${next}"'),
    ],
    "a link with https, as behind a proxy": [
        step("links", 'path = "/stats"\ncapture = { next = "links.https" }'),
        step("x", 'path = "${next}"'),
    ],
    "a redirect to the name of the service": [step("x", 'path = "/login"\nfollow_redirects = true')],
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_the_headers_of_the_service_are_sent_with(smoke, shop, steps):
    results = smoke(*steps, service=SERVICE_HEADERS + 'openapi = "/openapi.json"\n')
    assert {name: (r.expected, r.got, r.detail) for name, r in results.items() if r.verdict != "pass"} == {}
    assert {(r.host, r.headers.get("X-Key"), r.headers.get("X-Unset")) for r in shop.requests} == {(HOST, KEY, None)}
    assert shop.orders == ("cleanup" not in steps[-1] and "orders" in steps[-1])


def test_a_link_to_another_host_is_an_error(smoke):
    results = smoke(step("links", 'path = "/stats"\ncapture = { next = "links.away" }'), step("x", 'path = "${next}"'))
    assert results["x"].verdict == "error"
    assert "another origin" in results["x"].detail


OWN = {
    "a header of the step": ('{ X-Key = "other" }', "other"),
    "a header of the step in another case": ('{ x-key = "other" }', "other"),
    "an empty header of the step": ('{ X-KEY = "" }', None),
}


@pytest.mark.parametrize(("headers", "sent"), OWN.values(), ids=OWN)
def test_it_replaces_that_of_the_service(smoke, shop, headers, sent):
    results = smoke(step("x", f'path = "/stats"\nheaders = {headers}\nstatus = 400'))
    assert results["x"].verdict == "pass"
    assert shop.requests[-1].headers.get("X-Key") == sent


# Set-Cookie, and whether the next request sends it
COOKIES = {
    "without a domain": ("sid=1; Path=/", True),
    "for the name of the service": (f"sid=1; Path=/; Domain={HOST}", True),
    "for a domain above it": ("sid=1; Path=/; Domain=.example.com", True),
    "for a domain above it, without the dot": ("sid=1; Path=/; Domain=example.com", True),
    "for the name of the service, over TLS alone": (f"sid=1; Path=/; Domain={HOST}; Secure", True),
    "for another host": ("sid=1; Path=/; Domain=other.example.org", False),
    "for a sibling": ("sid=1; Path=/; Domain=other.example.com", False),
    "for every name that ends so": ("sid=1; Path=/; Domain=.com", False),
    "for the address of the service": ("sid=1; Path=/; Domain=127.0.0.1", False),
}


@pytest.mark.parametrize(("written", "kept"), COOKIES.values(), ids=COOKIES)
def test_a_cookie_belongs_to_the_host_of_the_host_header(smoke, shop, written, kept):
    shop.set_cookie = written
    cookies = {"sid": "1"} if kept else {}
    results = smoke(
        step("login", 'path = "/login"\nstatus = 302'),
        step(
            "account",
            f'path = "/account"\njson = {{ cookies = {{ equals = {json.dumps(cookies).replace(":", "=")} }} }}',
        ),
    )
    assert (results["account"].verdict, results["account"].got) == ("pass", "HTTP 200")


def test_a_redirect_sends_the_cookie_that_came_with_it(smoke, shop):
    shop.set_cookie = "sid=1; Path=/; Domain=.example.com"
    results = smoke(
        step("login", 'path = "/login"\nfollow_redirects = true\njson = { cookies = { equals = { sid = "1" } } }')
    )
    assert results["login"].verdict == "pass"


NO_LINKS = {"null": "null", "an empty text": '""', "blanks": '"  "'}


@pytest.mark.parametrize("link", NO_LINKS.values(), ids=NO_LINKS)
def test_what_is_no_link_is_neither_followed_nor_removed(smoke, shop, httpserver, link):
    httpserver.clear()
    httpserver.expect_request(re.compile(".*")).respond_with_data(f'{{"job": {link}}}', content_type="application/json")
    job = 'path = "/jobs"\nmethod = "POST"\ncapture = { job = "job" }\ncleanup = { path = "${job}" }'
    with pytest.raises(AssertionError, match=r"is not a link"):
        smoke(step("job", job))
    assert "DELETE" not in {request.method for request, _ in httpserver.log}
