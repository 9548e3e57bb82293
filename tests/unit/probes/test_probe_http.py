"""HTTP probes of real sockets: one case for every reason."""

import contextlib
import resource
import socket
import ssl
import threading
import time

import pytest

from tests.support.ports import free_port
from tests.support.servers import (
    answer,
    black_hole,
    drip,
    endless,
    hang,
    raw,
    read_request,
    reset,
    reset_at_once,
    serve,
    serve_tls,
)
from toombos_cli.base.errors import OperationError
from toombos_cli.probes import Reason, probe_http

CASES = {
    "200 with a body": (answer(b"fine"), Reason.OK, ""),
    "204 without a body": (raw(b"HTTP/1.1 204 No Content\r\n\r\n"), Reason.OK, ""),
    "a body that ends with the connection": (raw(b"HTTP/1.0 200 OK\r\n\r\nbody"), Reason.OK, ""),
    "a chunked body": (
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        Reason.OK,
        "",
    ),
    "an interim response first": (raw(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), Reason.OK, ""),
    "a second response after the first": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 2), Reason.OK, ""),
    "a bad second response": (
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 500 No\r\n\r\n"),
        Reason.OK,
        "",
    ),
    "500 with a JSON body": (answer(b"{}", status="500 Oops"), Reason.STATUS, "HTTP 500"),
    "a redirect": (
        answer(status="302 Found", headers="Location: http://127.0.0.1:1/else\r\n"),
        Reason.STATUS,
        "HTTP 302, redirects to http://127.0.0.1:1/else",
    ),
    "a reset": (reset, Reason.RESET, "the connection was reset without a response"),
    "closed without a response": (raw(b""), Reason.RESET, "the connection was closed without a response"),
    "closed within the header": (raw(b"HTTP/1.1 200"), Reason.RESET, "closed after 12 bytes"),
    "closed within the body": (
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        Reason.RESET,
        "closed after",
    ),
    "a response that is not HTTP": (raw(b"220 mail.example ESMTP\r\n\r\n"), Reason.BODY, "not valid HTTP"),
    "a TLS alert": (raw(b"\x15\x03\x01\x00\x02\x02\x46"), Reason.TLS, "the port speaks TLS"),
    "a header without an end": (
        raw(b"HTTP/1.1 200 OK\r\n" + b"X-Fill: " + b"x" * 100_000),
        Reason.BODY,
        "not valid HTTP",
    ),
    "no response": (hang, Reason.TIMEOUT, "connected, but no response within 0.3 s"),
    "a header that arrives byte by byte": (
        drip(b"HTTP/1.1 200 OK\r\nX-Slow: "),
        Reason.TIMEOUT,
        "not complete within 0.3 s",
    ),
    "a body that arrives byte by byte": (drip(b"HTTP/1.1 200 OK\r\n\r\n"), Reason.TIMEOUT, "not complete within 0.3 s"),
}


@pytest.mark.parametrize(("handler", "reason", "detail"), CASES.values(), ids=CASES)
def test_each_behaviour_of_a_server_yields_its_reason(handler, reason, detail):
    with serve(handler) as port:
        result = probe_http(f"http://127.0.0.1:{port}/health", timeout_s=0.3)
    assert result.reason is reason, result
    assert detail in result.detail
    assert (result.address, result.family) == ("127.0.0.1", "ipv4")


def test_a_closed_port_is_refused():
    port = free_port()
    result = probe_http(f"http://127.0.0.1:{port}/")
    assert (result.reason, result.address) == (Reason.REFUSED, None)
    assert f"127.0.0.1:{port} refused" in result.detail


def test_a_black_hole_is_a_connection_timeout():
    with black_hole() as port:
        result = probe_http(f"http://127.0.0.1:{port}/", timeout_s=0.3)
    assert result.reason is Reason.TIMEOUT
    assert result.detail == f"no connection to 127.0.0.1:{port} within the time limit"


@pytest.mark.parametrize(
    "host", ["no-such-host.invalid", "a" * 70 + ".invalid"], ids=["an unknown name", "an invalid name"]
)
def test_a_name_that_does_not_resolve_is_a_dns_failure(host):
    result = probe_http(f"http://{host}:80/")
    assert result.reason is Reason.DNS
    assert f"{host} does not resolve" in result.detail


def test_a_hanging_name_lookup_ends_at_the_deadline(monkeypatch):
    done = threading.Event()
    real = socket.getaddrinfo

    def getaddrinfo(host, *args, flags=0, **kwargs):
        if not flags & socket.AI_NUMERICHOST:
            done.wait(10)
        return real(host, *args, flags=flags, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)  # there is no way to make a real resolver hang
    started = time.monotonic()
    result = probe_http("http://some.host:1/", timeout_s=0.2)
    done.set()
    assert (result.reason, time.monotonic() - started < 5) == (Reason.DNS, True)


def test_an_ipv6_only_listener_is_found_by_name_and_by_address():
    with serve(answer(b"six"), host="::1") as port:
        for host in ("localhost", "[::1]"):
            result = probe_http(f"http://{host}:{port}/")
            assert (result.reason, result.family, result.address) == (Reason.OK, "ipv6", "::1"), host
        assert probe_http(f"http://127.0.0.1:{port}/").reason is Reason.REFUSED


def test_an_ipv4_only_listener_is_found_by_name():
    with serve(answer(b"four")) as port:
        result = probe_http(f"http://localhost:{port}/")
    assert (result.reason, result.family) == (Reason.OK, "ipv4")


def test_an_http_url_with_a_tls_port_is_a_tls_failure(tmp_path):
    with serve_tls(answer(b"secret"), tmp_path) as port:
        result = probe_http(f"http://127.0.0.1:{port}/")
    assert (result.reason, result.detail) == (Reason.TLS, "the port speaks TLS, but the URL says http")


def test_an_https_url_with_a_plain_port_is_a_tls_failure():
    def handler(connection):
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with serve(handler) as port:
        result = probe_http(f"https://127.0.0.1:{port}/")
    assert (result.reason, result.detail) == (Reason.TLS, "the port does not speak TLS, but the URL says https")


def test_a_plain_server_that_resets_a_tls_handshake_still_does_not_speak_tls():
    def handler(connection):
        if connection.recv(1) == b"\x16":
            reset_at_once(connection)
        else:
            answer(b"fine")(connection)

    with serve(handler) as port:
        result = probe_http(f"https://127.0.0.1:{port}/")
    assert (result.reason, result.detail) == (Reason.TLS, "the port does not speak TLS, but the URL says https")


def test_a_plain_server_that_hangs_up_on_a_tls_handshake_still_does_not_speak_tls():
    def handler(connection):
        if connection.recv(4096).startswith(b"HEAD"):
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")

    with serve(handler) as port:
        result = probe_http(f"https://127.0.0.1:{port}/")
    assert (result.reason, result.detail) == (Reason.TLS, "the port does not speak TLS, but the URL says https")


def test_a_server_that_resets_every_connection_yields_a_reset_with_any_scheme():
    def handler(connection):
        connection.recv(1)
        reset_at_once(connection)

    with serve(handler) as port:
        for scheme in ("http", "https"):
            assert probe_http(f"{scheme}://127.0.0.1:{port}/").reason is Reason.RESET


def test_a_tls_server_whose_reset_overtakes_its_alert_still_speaks_tls():
    def handler(connection):
        if connection.recv(1) == b"\x16":
            connection.sendall(b"\x15\x03\x03\x00\x02\x02\x28")  # alert: the server requires a client certificate
        reset_at_once(connection)

    with serve(handler) as port:
        for _ in range(20):
            result = probe_http(f"http://127.0.0.1:{port}/")
            assert (result.reason, result.detail) == (Reason.TLS, "the port speaks TLS, but the URL says http")


def test_a_self_signed_certificate_is_accepted_on_loopback(tmp_path):
    with serve_tls(answer(b"secured"), tmp_path) as port:
        result = probe_http(f"https://localhost:{port}/")
    assert (result.reason, result.body) == (Reason.OK, b"secured")


def test_certificate_authorities_are_not_loaded_for_loopback(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda *args: read.append(args))
    with serve_tls(answer(b"secured"), tmp_path) as port:
        assert probe_http(f"https://127.0.0.1:{port}/").reason is Reason.OK
        assert probe_http(f"http://127.0.0.1:{port}/").reason is Reason.TLS
    assert not read  # loading takes 20 ms of CPU; on a busy machine, the probe would time out


def test_a_hanging_tls_handshake_ends_at_the_deadline():
    with serve(hang) as port:
        assert probe_http(f"https://127.0.0.1:{port}/", timeout_s=0.2).reason is Reason.TIMEOUT


def test_an_endless_body_is_read_only_up_to_the_limit():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with serve(endless) as port:
        result = probe_http(f"http://127.0.0.1:{port}/", timeout_s=10, max_body_bytes=1000)
    assert (result.reason, result.truncated, len(result.body)) == (Reason.OK, True, 1000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"])
def test_a_proxy_in_the_environment_is_ignored(monkeypatch, name):
    monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with serve(answer(b"direct")) as port:
        assert probe_http(f"http://127.0.0.1:{port}/").reason is Reason.OK


def test_a_late_response_is_slow_only_if_its_status_is_good():
    with serve(answer(after_s=0.05)) as port:
        result = probe_http(f"http://127.0.0.1:{port}/", slow_after_ms=20)
        assert result.reason is Reason.SLOW
        assert result.latency_ms > 50
    with serve(answer(after_s=0.05, status="503 Busy")) as port:
        assert probe_http(f"http://127.0.0.1:{port}/", slow_after_ms=20).reason is Reason.STATUS


def test_the_request_has_the_given_method_path_headers_and_body():
    seen = []

    def handler(connection):
        data = read_request(connection)
        while not data.endswith(b"{}"):
            data += connection.recv(100)
        seen.append(data)
        answer(b"")(connection)

    with serve(handler) as port:
        probe_http(
            f"http://127.0.0.1:{port}/a b?q=ä&x=1", method="POST", headers={"X-API-Key": "k"}, body=b"{}", timeout_s=0.3
        )
    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /a%20b?q=%c3%a4&x=1 http/1.1"
    assert {f"host: 127.0.0.1:{port}", "content-length: 2", "x-api-key: k", "connection: close"} <= set(lines)
    assert body == b"{}"


def test_a_response_sent_before_the_request_was_read_still_counts():
    def handler(connection):
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    with serve(handler) as port:
        result = probe_http(f"http://127.0.0.1:{port}/", method="POST", body=b"x" * 5_000_000)
    assert (result.reason, result.http_status) == (Reason.STATUS, 413)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1:80", "http://", "http://127.0.0.1:99999/"])
def test_a_url_that_is_not_http_is_refused(url):
    with pytest.raises(ValueError, match=r"URL|Port"):
        probe_http(url)


def test_a_header_value_that_injects_a_header_is_refused():
    with pytest.raises(ValueError, match="cannot be sent"):
        probe_http("http://127.0.0.1:1/", headers={"X-Id": "1\r\nX-Other: 2"})


def test_escape_codes_of_a_server_are_not_in_the_detail():
    with serve(answer(status="302 Found", headers="Location: http://a/\t\x80[31m\r\n")) as port:
        result = probe_http(f"http://127.0.0.1:{port}/")
    assert result.detail.isprintable()


def test_running_out_of_sockets_is_an_error_of_this_machine_and_not_of_the_service():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        with contextlib.suppress(OSError):
            while True:
                held.append(socket.socket())
        with pytest.raises(OperationError, match="cannot probe: Too many open files"):
            probe_http("http://127.0.0.1:1/")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for sock in held:
            sock.close()


def test_many_threads_can_probe_at_the_same_time():
    results = []
    with serve(answer(b"ok", after_s=0.1)) as port:
        threads = [
            threading.Thread(target=lambda: results.append(probe_http(f"http://127.0.0.1:{port}/", timeout_s=5)))
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {result.reason for result in results} == {Reason.OK}
    assert len(results) == 20
