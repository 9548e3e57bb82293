"""Servers that send without an end: a probe of each is bounded in time and memory, and its reason is exact."""

import resource
import time
import zlib

import pytest

from tests.support.servers import endless, read_request, serve
from toombos_cli.probes import Cause, Reason, probe_http

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def flood(head, block):
    """Send `head`, and then the block again and again."""

    def handler(connection):
        read_request(connection)
        connection.sendall(head)
        while True:
            connection.sendall(block)

    return handler


def _bomb():
    """Return a gzip stream of 64 MB of zeros, without its end."""
    compressor = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return compressor.compress(bytes(64 * 1024 * 1024)) + compressor.flush(zlib.Z_FULL_FLUSH)


GZIPPED = OK + b"Content-Encoding: gzip\r\n\r\n"
NOT_HTTP = (Reason.BODY, Cause.NOT_HTTP)
# handler, reason, cause, words of the detail
FLOODS = {
    "a body of 1 GB": (endless, Reason.OK, None, ""),
    "a body without an end": (flood(OK + b"\r\n", b"x" * 65536), Reason.OK, None, ""),
    "chunks without an end": (flood(CHUNKED, b"1000\r\n" + b"x" * 4096 + b"\r\n"), Reason.OK, None, ""),
    "chunks of one byte": (flood(CHUNKED, b"1\r\nx\r\n" * 1000), Reason.OK, None, ""),
    "a gzip bomb": (flood(GZIPPED + _bomb(), b"x"), Reason.OK, None, ""),
    "gzip members without an end": (
        flood(GZIPPED, zlib.compress(b"", wbits=31) * 1000),
        Reason.BODY,
        Cause.UNREADABLE,
        "more bytes in its content coding than without",
    ),
    "one header without an end": (flood(OK + b"X: ", b"x" * 4096), *NOT_HTTP, "longer than 65536 bytes"),
    "headers without an end": (flood(OK, b"X-Fill: x\r\n" * 400), *NOT_HTTP, "longer than 65536 bytes"),
    "a status line without an end": (flood(b"HTTP/1.1 200 ", b"x" * 4096), *NOT_HTTP, "longer than 65536 bytes"),
    "interim responses without an end": (
        flood(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100),
        *NOT_HTTP,
        "longer than 65536 bytes",
    ),
    "a chunk extension without an end": (flood(CHUNKED + b"1;", b"x" * 4096), *NOT_HTTP, "not valid HTTP"),
    "extensions of empty value on every chunk": (
        flood(CHUNKED, b"1;" + b"x" * 1000 + b"\r\nx\r\n"),
        *NOT_HTTP,
        "framing of its chunks has no end",
    ),
    "trailers without an end": (flood(CHUNKED + b"0\r\n", b"X-Fill: x\r\n" * 400), *NOT_HTTP, "not valid HTTP"),
    "a chunk size without an end": (flood(CHUNKED, b"0" * 4096), *NOT_HTTP, "not valid HTTP"),
    "blank lines instead of a response": (flood(b"", b"\r\n" * 2048), *NOT_HTTP, "not valid HTTP"),
}


@pytest.mark.parametrize(("handler", "reason", "cause", "words"), FLOODS.values(), ids=FLOODS)
def test_a_server_that_sends_without_an_end_costs_little(handler, reason, cause, words):
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with serve(handler) as port:
        result = probe_http(f"http://127.0.0.1:{port}/", timeout_s=10, max_body_bytes=20_000)
        took_s = time.monotonic() - started
    assert (result.reason, result.cause) == (reason, cause), result
    assert words in result.detail
    assert result.truncated is (reason is Reason.OK)
    assert took_s < 8
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


# response, reason, words of the detail: curl accepts each of them
LENIENCY = {
    "line feeds alone": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", Reason.OK, ""),
    "a folded header": (OK + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok", Reason.OK, ""),
    "Content-Length twice, with one value": (OK + b"Content-Length: 2\r\n" * 2 + b"\r\nok", Reason.OK, ""),
    "Content-Length as a list of one value": (OK + b"Content-Length: 2, 2\r\n\r\nok", Reason.OK, ""),
    "Content-Length beside chunks": (
        OK + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        Reason.OK,
        "",
    ),
    "no reason phrase": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", Reason.OK, ""),
    "bytes above ASCII in a header": (OK + b"X: caf\xe9\r\nContent-Length: 2\r\n\r\nok", Reason.OK, ""),
    "an empty header": (OK + b"X:\r\nContent-Length: 2\r\n\r\nok", Reason.OK, ""),
    "a blank before a colon": (OK + b"Server : x\r\n\r\nok", Reason.BODY, "illegal header line"),
    "a header without a colon": (OK + b"Server\r\n\r\nok", Reason.BODY, "illegal header line"),
    "two lengths": (
        OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        Reason.BODY,
        "Content-Length",
    ),
    "a length that is no number": (OK + b"Content-Length: two\r\n\r\nok", Reason.BODY, "bad Content-Length"),
    "another transfer coding": (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", Reason.BODY, "Transfer-Encoding"),
    "a version that is not known": (b"HTTP/3.0 200 OK\r\n\r\n", Reason.BODY, "it begins with 'HTTP/3.0 200 OK"),
    "no status line": (b"ok", Reason.BODY, "it begins with 'ok'"),
}


@pytest.mark.parametrize(("response", "reason", "words"), LENIENCY.values(), ids=LENIENCY)
def test_what_breaks_the_rules_of_http_is_read_if_it_is_clear_or_else_named(response, reason, words):
    def handler(connection):
        read_request(connection)
        connection.sendall(response)

    with serve(handler) as port:
        result = probe_http(f"http://127.0.0.1:{port}/")
    assert result.reason is reason, result
    assert words in result.detail
    assert result.body == (b"ok" if reason is Reason.OK else b"")


@pytest.mark.parametrize("rest", [b"\r\n", b" Switching Protocols\r\nUpgrade: websocket\r\n\r\n"])
def test_a_switch_of_protocols_is_a_status(rest):
    def handler(connection):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 101" + rest)
        connection.recv(1)

    with serve(handler) as port:
        result = probe_http(f"http://127.0.0.1:{port}/")
    assert (result.reason, result.http_status, result.detail) == (Reason.STATUS, 101, "HTTP 101")
