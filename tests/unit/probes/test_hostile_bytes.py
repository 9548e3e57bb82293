"""A probe copes with any bytes: it ends with a reason, printable text and a body within the limit."""

from hypothesis import given
from hypothesis import strategies as st

from toombos_cli.base.results import Verdict
from toombos_cli.probes import ProbeResult, Reason, health_verdict, judge_health
from toombos_cli.probes.message import NotHttpError, PartialResponse

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
    ]
)
STREAMS = st.lists(st.one_of(PIECES, st.binary(max_size=40)), max_size=12)


@given(chunks=STREAMS, limit=st.integers(0, 30))
def test_a_stream_of_any_bytes_is_a_response_or_not_http(chunks, limit):
    response = PartialResponse("GET", limit)
    try:
        for chunk in [*chunks, b""]:
            response.feed(chunk)
    except NotHttpError:
        return
    assert len(response.body) <= limit
    assert response.complete or not response.truncated
    assert response.status is None or response.status >= 200


@given(body=st.binary(max_size=200), expects=st.sampled_from(["status", "any"]))
def test_any_body_gets_a_verdict(body, expects):
    result = ProbeResult(url="http://x/", reason=Reason.OK, http_status=200, body=body)
    judged = judge_health(result, expects=expects)
    assert judged.reason in (Reason.OK, Reason.BODY)
    assert judged.detail.isprintable()
    assert health_verdict(judged.reason, judged.cause) in (Verdict.PASS, Verdict.WARN, Verdict.FAIL)
