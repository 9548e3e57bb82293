"""HTTP/2: real servers that speak it, and what is said if the two sides do not agree on the version."""

import contextlib
import shutil
import subprocess
import sys
import threading

import pytest

from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.servers import answer, raw, read_request, serve, serve_tls
from tests.support.waiting import wait_for
from toombos_cli.probes import Cause, Endpoint, Reason, probe_http, probe_tcp

HTTP2 = Endpoint(http2=True)
APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    size = int(scope["query_string"] or 0)
    said = b"HTTP/" + scope["http_version"].encode() + b" " + scope["method"].encode() + b" " + body
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-path", scope["raw_path"])]})
    await send({"type": "http.response.body", "body": said + b"x" * size})
"""


@contextlib.contextmanager
def hypercorn(directory, *options):
    """Yield the port of a hypercorn that says which version and method a request has."""
    (directory / "app.py").write_text(APP)
    port = free_port()
    argv = (sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{port}", *options, "app:app")
    with subprocess.Popen(argv, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: probe_tcp("127.0.0.1", port).reason is Reason.OK)
            yield port
        finally:
            process.kill()


def test_hypercorn_is_asked_in_the_version_that_the_endpoint_names(tmp_path):
    with hypercorn(tmp_path) as port:
        one = probe_http(f"http://127.0.0.1:{port}/", timeout_s=10)
        two = probe_http(f"http://127.0.0.1:{port}/a%2Fb", endpoint=HTTP2, method="POST", body=b"sent", timeout_s=10)
        large = probe_http(f"http://127.0.0.1:{port}/?500000", endpoint=HTTP2, max_body_bytes=10**6, timeout_s=10)
        cut = probe_http(f"http://127.0.0.1:{port}/?500000", endpoint=HTTP2, timeout_s=10)
        head = probe_http(f"http://127.0.0.1:{port}/", endpoint=HTTP2, method="HEAD", timeout_s=10)
    assert (one.http_version, one.body) == ("1.1", b"HTTP/1.1 GET ")
    assert (two.http_version, two.body, two.header("x-path")) == ("2", b"HTTP/2 POST sent", "/a%2Fb")
    assert (large.reason, len(large.body), large.truncated) == (Reason.OK, 500_011, False)
    assert (cut.reason, len(cut.body), cut.truncated) == (Reason.OK, 65536, True)
    assert (head.reason, head.body) == (Reason.OK, b"")


def test_hypercorn_with_tls_agrees_on_http2_if_the_endpoint_wants_it(tmp_path):
    authority = Authority(tmp_path)
    certificate = authority.issue(hosts=("localhost", "127.0.0.1"))
    with hypercorn(tmp_path, "--certfile", str(certificate), "--keyfile", str(certificate)) as port:
        for endpoint, version in (
            (HTTP2, "2"),
            (Endpoint(), "1.1"),
            (Endpoint(http2=True, ca_file=authority.ca_file), "2"),
        ):
            result = probe_http(f"https://localhost:{port}/", endpoint=endpoint, timeout_s=10)
            assert (result.reason, result.http_version) == (Reason.OK, version), result.detail


NODE = """
const http2 = require('http2'), fs = require('fs'), pem = fs.readFileSync(process.argv[1])
const answer = (request, response) => response.end('ok')
http2.createServer(answer).listen(+process.argv[2], '127.0.0.1')
http2.createSecureServer({key: pem, cert: pem}, answer).listen(+process.argv[3], '127.0.0.1')
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_server_of_http2_alone_is_named_as_such(tmp_path):
    certificate, plain, secure = Authority(tmp_path).issue(), free_port(), free_port()
    argv = ("node", "-e", NODE, str(certificate), str(plain), str(secure))
    with subprocess.Popen(argv) as process:
        try:
            wait_for(lambda: all(probe_tcp("127.0.0.1", port).reason is Reason.OK for port in (plain, secure)))
            for url in (f"http://127.0.0.1:{plain}/", f"https://127.0.0.1:{secure}/"):
                result = probe_http(url, endpoint=HTTP2, timeout_s=10)
                assert (result.reason, result.http_version, result.body) == (Reason.OK, "2", b"ok"), result
            one, tls = (
                probe_http(url, timeout_s=10) for url in (f"http://127.0.0.1:{plain}/", f"https://127.0.0.1:{secure}/")
            )
        finally:
            process.kill()
    assert (one.reason, one.cause) == (Reason.BODY, Cause.HTTP2)
    assert "the server speaks HTTP/2; `http2 = true` asks for it" in one.detail
    assert (tls.reason, tls.cause) == (Reason.TLS, Cause.HTTP2)
    assert (tls.reason, tls.detail) == (Reason.TLS, "the server speaks HTTP/2 alone; `http2 = true` asks for it")


def test_a_tls_server_that_knows_no_http2_is_asked_in_http_1(tmp_path):
    with serve_tls(answer(b"ok"), tmp_path) as port:
        result = probe_http(f"https://127.0.0.1:{port}/", endpoint=HTTP2, timeout_s=5)
    assert (result.reason, result.http_version) == (Reason.OK, "1.1")


SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
GO_AWAY = b"\0\0\x08\x07\0\0\0\0\0" + b"\0\0\0\0" + b"\0\0\0\x0d"  # HTTP_1_1_REQUIRED
# what the server sends to a client of HTTP/2, reason, words of the detail
ANSWERS = {
    "HTTP/1": (raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Reason.BODY, "not valid HTTP/2: the server speaks HTTP/1"),
    "nothing": (raw(b""), Reason.RESET, " without a response"),
    "its settings alone": (raw(SETTINGS), Reason.RESET, " after 9 bytes of the response"),
    "that it goes away": (raw(SETTINGS + GO_AWAY), Reason.RESET, "HTTP_1_1_REQUIRED"),
    "that the stream ends": (raw(SETTINGS + b"\0\0\x04\x03\0\0\0\0\1\0\0\0\7"), Reason.RESET, "REFUSED_STREAM"),
    "headers that cannot be decoded": (raw(SETTINGS + b"\0\0\1\x01\4\0\0\0\1\xff"), Reason.BODY, "not valid HTTP"),
    "a frame for no stream": (raw(SETTINGS + b"\0\0\1\0\0\0\0\0\0x"), Reason.BODY, "not valid HTTP"),
    "data without a head": (raw(SETTINGS + b"\0\0\1\0\0\0\0\0\1x"), Reason.BODY, "not valid HTTP"),
}


@pytest.mark.parametrize(("handler", "reason", "words"), ANSWERS.values(), ids=ANSWERS)
def test_what_is_no_response_in_http2_has_its_reason(handler, reason, words):
    with serve(handler) as port:
        result = probe_http(f"http://127.0.0.1:{port}/", endpoint=HTTP2, timeout_s=2)
    assert result.reason is reason, result
    assert words in result.detail


def test_a_server_of_http2_that_hangs_is_a_timeout():
    done = threading.Event()

    def handler(connection):
        read_request(connection)
        connection.sendall(SETTINGS)
        done.wait(10)

    with serve(handler) as port:
        result = probe_http(f"http://127.0.0.1:{port}/", endpoint=HTTP2, timeout_s=0.3)
        done.set()
    assert (result.reason, result.latency_ms) == (Reason.TIMEOUT, None)


@pytest.mark.parametrize(
    "frame", [b"\0\0\0\x04\0\0\0\0\0", b"\0\0\x08\x06\0\0\0\0\0" + b"x" * 8], ids=["SETTINGS", "PING"]
)
def test_frames_without_an_end_are_bounded(frame):
    def handler(connection):
        read_request(connection)
        connection.settimeout(5)
        while True:
            connection.sendall(frame * 500)

    with serve(handler) as port:
        result = probe_http(f"http://127.0.0.1:{port}/", endpoint=HTTP2, timeout_s=10)
    assert (result.reason, result.cause) == (Reason.BODY, Cause.NOT_HTTP), result
