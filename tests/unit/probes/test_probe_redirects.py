"""Cookies and redirects of a probe."""

import re
import ssl

import httpx
import pytest

from tests.support.certificates import Authority
from tests.support.servers import answer, read_request, serve, serve_tls, serve_unix
from toombos_cli.probes import Endpoint, Reason, probe_http


def site(pages, seen):
    """Return a handler that answers by path with (status, headers, body), and notes each request in `seen`."""

    def handler(connection):
        request = read_request(connection).decode("latin-1")
        seen.append(request)
        status, headers, body = pages.get(request.split()[1], ("404 Not Found", "", b""))
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        connection.sendall(head.encode("latin-1") + body)

    return handler


def to(location, status="302 Found", headers=""):
    return status, f"Location: {location}\r\n{headers}", b"moved"


def _lines(request):
    return request.lower().split("\r\n")


def test_cookies_are_sent_kept_and_removed():
    seen = []
    pages = {
        "/login": ("200 OK", "Set-Cookie: session=abc; HttpOnly; Path=/\r\nSet-Cookie: theme=dark\r\n", b""),
        "/logout": ("200 OK", "Set-Cookie: session=; Max-Age=0; Path=/\r\n", b""),
        "/": ("200 OK", "", b""),
    }
    cookies = httpx.Cookies()
    with serve(site(pages, seen)) as port:
        for path in ("/login", "/", "/logout", "/"):
            probe_http(f"http://127.0.0.1:{port}{path}", cookies=cookies)
        probe_http(f"http://127.0.0.1:{port}/")
    sent = [next((line for line in _lines(request) if line.startswith("cookie:")), None) for request in seen]
    assert sent[0] is None
    assert set(sent[1].removeprefix("cookie: ").split("; ")) == {"session=abc", "theme=dark"}
    assert sent[3:] == ["cookie: theme=dark", None]
    assert [cookie.name for cookie in cookies.jar] == ["theme"]


def test_a_cookie_header_of_the_caller_is_sent_instead():
    seen = []
    with serve(site({}, seen)) as port:
        cookies = httpx.Cookies({"a": "1"})
        probe_http(f"http://127.0.0.1:{port}/", cookies=cookies, headers={"Cookie": "b=2"})
    assert [line for line in _lines(seen[0]) if line.startswith("cookie:")] == ["cookie: b=2"]


def test_a_redirect_that_may_be_followed_leads_to_its_target():
    seen, asked = [], []
    pages = {
        "/": to("/a", headers="Set-Cookie: way=1\r\n"),
        "/a": to("b", "301 Moved"),
        "/b": ("200 OK", "", b"there"),
    }
    with serve(site(pages, seen)) as port:
        base = f"http://127.0.0.1:{port}"
        result = probe_http(f"{base}/", may_follow=lambda url: asked.append(url) or True)
    assert (result.reason, result.body, result.url) == (Reason.OK, b"there", f"{base}/b")
    assert asked == [f"{base}/a", f"{base}/b"]
    assert "cookie: way=1" in _lines(seen[2])


METHODS = {
    "302 turns a POST into a GET": ("302 Found", "GET /b ", b""),
    "303 turns a POST into a GET": ("303 See Other", "GET /b ", b""),
    "307 keeps the method and the body": ("307 Temporary", "POST /b ", b"body"),
    "308 keeps the method and the body": ("308 Permanent", "POST /b ", b"body"),
}


@pytest.mark.parametrize(("status", "line", "body"), METHODS.values(), ids=METHODS)
def test_the_status_of_a_redirect_decides_about_the_method(status, line, body):
    seen = []
    with serve(site({"/a": to("/b", status)}, seen)) as port:
        probe_http(f"http://127.0.0.1:{port}/a", method="POST", body=b"body", may_follow=lambda _: True)
    assert seen[1].startswith(line)
    assert re.search(r"content-length: 4", seen[1], re.IGNORECASE) if body else "content-length" not in seen[1].lower()


# location, what may_follow says (None: it is absent), detail
KEPT = {
    "nobody follows": ("/b", None, "HTTP 302, redirects to /b"),
    "the caller refuses": ("http://example.org/x", False, "HTTP 302, redirects to http://example.org/x"),
    "another program is to open it": ("myapp://open?code=1", True, "HTTP 302, redirects to myapp://open?code=1"),
    "the location is no URL": ("http://[::1", True, "HTTP 302, redirects to http://[::1"),
    "the location has a port that is none": ("http://a:b/", True, "HTTP 302, redirects to http://a:b/"),
}


@pytest.mark.parametrize(("location", "says", "detail"), KEPT.values(), ids=KEPT)
def test_a_redirect_that_is_not_followed_is_the_result(location, says, detail):
    with serve(site({"/": to(location)}, [])) as port:
        may_follow = None if says is None else lambda _: says
        result = probe_http(f"http://127.0.0.1:{port}/", may_follow=may_follow)
    assert (result.reason, result.http_status, result.detail) == (Reason.STATUS, 302, detail)
    assert (result.body, result.header("location")) == (b"moved", location)


def test_redirects_without_an_end_are_a_failure():
    with serve(site({"/": to("/")}, [])) as port:
        result = probe_http(f"http://127.0.0.1:{port}/", may_follow=lambda _: True, timeout_s=10)
    assert (result.reason, result.detail) == (Reason.STATUS, "it redirects more than 20 times")


def test_all_redirects_share_one_deadline():
    def handler(connection):
        answer(status="302 Found", headers="Location: /\r\n", after_s=0.1)(connection)

    with serve(handler) as port:
        result = probe_http(f"http://127.0.0.1:{port}/", may_follow=lambda _: True, timeout_s=0.35)
    assert result.reason is Reason.TIMEOUT


def test_a_secret_header_and_an_endpoint_stay_with_the_first_origin(tmp_path):
    seen = []
    with serve(site({"/": ("200 OK", "", b"other")}, seen)) as other:
        target = f"http://127.0.0.1:{other}/"
        with serve_unix(site({"/": to(target)}, seen), tmp_path / "s"):
            result = probe_http(
                "http://localhost/",
                headers={"Authorization": "Bearer x", "Host": "app.example"},
                endpoint=Endpoint(unix=tmp_path / "s"),
                may_follow=lambda _: True,
            )
    assert (result.body, result.family, result.peer_pid) == (b"other", "ipv4", None)
    assert "authorization: bearer x" in _lines(seen[0])
    assert "authorization" not in seen[1].lower()
    assert f"host: 127.0.0.1:{other}" in _lines(seen[1])


def test_a_client_certificate_is_not_shown_to_another_origin(tmp_path):
    authority = Authority(tmp_path)
    certificate = authority.issue("client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue())
    context.load_verify_locations(authority.ca_file)
    context.verify_mode = ssl.CERT_OPTIONAL
    shown = []

    def handler(connection):
        shown.append(connection.getpeercert())
        answer(b"ok")(connection)

    with (
        serve_tls(handler, tmp_path, context) as other,
        serve_tls(site({"/": to(f"https://127.0.0.1:{other}/")}, []), tmp_path) as port,
    ):
        endpoint = Endpoint(client_cert=(certificate, certificate))
        for start in (other, port):
            probe_http(f"https://127.0.0.1:{start}/", endpoint=endpoint, may_follow=lambda _: True, timeout_s=5)
    assert [bool(found) for found in shown] == [True, False]


PATHS = {
    "dots": "/a/../b",
    "percent-encoding": "/a%2Fb%zz?x=%20",
    "two slashes": "//a//b",
    "an empty query": "/a?",
    "brackets": "/a[0]?b[]=1",
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_the_path_is_sent_as_it_is_written(path):
    from urllib.parse import urlsplit

    from toombos_cli.base.addresses import request_target

    seen = []
    with serve(site({}, seen)) as port:
        probe_http(f"http://127.0.0.1:{port}{path}")
        target = request_target(urlsplit(f"http://127.0.0.1:{port}{path}"))
    assert seen[0].split()[1] == target
