"""A probe copes with any bytes: it ends with a reason, printable text and a body within the limit."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.servers import serve
from toombos_cli.base.results import Verdict
from toombos_cli.manifest.tables.expectations import Expectation
from toombos_cli.probes import DIRECT, Endpoint, ProbeResult, Reason, health_verdict, judge_health, probe_http

PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 503 No\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"\r\n",
        b"X: \xff\x1b[31m\r\n",
        b'{"status": "healthy"}',
        b"\x15\x03\x01",
        b"Content-Encoding: gzip\r\n",
        b"Content-Encoding: deflate\r\n",
        b"Content-Type: text/html; charset=\xff\r\n",
        b"Location: http://[\r\n",
        b"Set-Cookie: \xff=\x00; Domain=.\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n",
        b"\x1f\x8b\x08\0\0\0\0\0\0\3",
        b"\0\0\0\x04\0\0\0\0\0",
        b"\0\0\x01\x01\x04\0\0\0\x01\x88",
    ]
)
STREAMS = st.lists(st.one_of(PIECES, st.binary(max_size=40)), max_size=12)


@pytest.fixture(scope="module")
def stream():
    """Yield the list of chunks that a server sends to each client, and its port."""
    chunks: list[bytes] = []

    def handler(connection):
        connection.recv(65536)
        for chunk in chunks:
            connection.sendall(chunk)

    with serve(handler) as port:
        yield chunks, port


@given(chunks=STREAMS, limit=st.integers(0, 30), endpoint=st.sampled_from([DIRECT, Endpoint(http2=True)]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_stream_of_any_bytes_is_a_response_or_has_a_reason(stream, chunks, limit, endpoint):
    sent, port = stream
    sent[:] = chunks
    result = probe_http(f"http://127.0.0.1:{port}/", max_body_bytes=limit, endpoint=endpoint, timeout_s=5)
    assert result.reason in (Reason.OK, Reason.STATUS, Reason.BODY, Reason.RESET, Reason.TLS)
    assert result.detail.isprintable()
    assert len(result.body) <= limit
    assert result.text is not None
    assert result.latency_ms is not None or not result.truncated
    assert result.http_status is None or result.http_status == 101 or result.http_status >= 200


@given(body=st.binary(max_size=200), expects=st.sampled_from(["status", "any"]))
def test_any_body_gets_a_verdict(body, expects):
    result = ProbeResult(url="http://x/", reason=Reason.OK, http_status=200, body=body)
    judged = judge_health(result, Expectation(path="/health"), expects=expects)
    assert judged.reason in (Reason.OK, Reason.BODY)
    assert judged.detail.isprintable()
    assert health_verdict(judged.reason, judged.cause) in (Verdict.PASS, Verdict.WARN, Verdict.FAIL)
