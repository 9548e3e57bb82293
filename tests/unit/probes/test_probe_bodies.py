"""What a probe makes of a body: its content coding, its charset, its length."""

import gzip
import json
import zlib

import pytest

from tests.support.servers import answer, read_request, serve
from toombos_cli.base.untrusted import UntrustedError
from toombos_cli.probes import Cause, ProbeResult, Reason, probe_http, read_json

TEXT = b'{"status": "healthy"}' * 20
GZIPPED = gzip.compress(TEXT)


def _raw_deflate(data):
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def _coded(coding, body, **keys):
    return answer(body, headers=f"Content-Encoding: {coding}\r\n", **keys)


# handler, reason, cause, decoded body or words of the detail
CODINGS = {
    "gzip": (_coded("gzip", GZIPPED), Reason.OK, None, TEXT),
    "gzip under its old name, in capitals": (_coded("X-GZIP", GZIPPED), Reason.OK, None, TEXT),
    "gzip of two members": (_coded("gzip", GZIPPED * 2), Reason.OK, None, TEXT * 2),
    "gzip with padding": (_coded("gzip", GZIPPED + b"\0" * 99), Reason.OK, None, TEXT),
    "gzip with a line end behind it": (_coded("gzip", GZIPPED + b"\r\n"), Reason.OK, None, TEXT),
    "deflate with bytes behind it": (_coded("deflate", zlib.compress(TEXT) + b"\0"), Reason.OK, None, TEXT),
    "deflate with the header of zlib": (_coded("deflate", zlib.compress(TEXT)), Reason.OK, None, TEXT),
    "deflate without it": (_coded("deflate", _raw_deflate(TEXT)), Reason.OK, None, TEXT),
    "identity": (_coded("identity", TEXT), Reason.OK, None, TEXT),
    "an empty coding": (_coded("", TEXT), Reason.OK, None, TEXT),
    "gzip of nothing": (_coded("gzip", b""), Reason.OK, None, b""),
    "gzip that ends early": (_coded("gzip", GZIPPED[:-9]), Reason.BODY, Cause.UNREADABLE, "gzip is incomplete"),
    "deflate that ends early": (
        _coded("deflate", zlib.compress(TEXT)[:-5]),
        Reason.BODY,
        Cause.UNREADABLE,
        "deflate is incomplete",
    ),
    "plain text called gzip": (_coded("gzip", TEXT), Reason.BODY, Cause.UNREADABLE, "not valid gzip"),
    "plain text called deflate": (_coded("deflate", TEXT), Reason.BODY, Cause.UNREADABLE, "not valid deflate"),
    "brotli, unasked": (
        _coded("br", b"\x0b\x02\x80healthy\x03"),
        Reason.BODY,
        Cause.UNREADABLE,
        "the content coding br",
    ),
    "zstd, unasked": (_coded("zstd", b"\x28\xb5\x2f\xfd"), Reason.BODY, Cause.UNREADABLE, "content coding zstd"),
    "two codings": (_coded("gzip, gzip", gzip.compress(GZIPPED)), Reason.BODY, Cause.UNREADABLE, "coding gzip, gzip"),
    "a status that matters more": (_coded("br", b"x", status="503 No"), Reason.STATUS, None, "HTTP 503"),
}


@pytest.mark.parametrize(("handler", "reason", "cause", "found"), CODINGS.values(), ids=CODINGS)
def test_the_content_coding_of_a_body_is_removed_or_named(handler, reason, cause, found):
    with serve(handler) as port:
        result = probe_http(f"http://127.0.0.1:{port}/")
    assert (result.reason, result.cause) == (reason, cause), result
    assert result.body == found if isinstance(found, bytes) else found in result.detail
    assert result.latency_ms is not None


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("piece", [1, 2, 7])
def test_a_coded_body_may_arrive_in_any_pieces(coding, piece):
    body = GZIPPED if coding == "gzip" else _raw_deflate(TEXT)
    chunks = [body[start : start + piece] for start in range(0, len(body), piece)]

    def handler(connection):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n")
        connection.sendall(f"Content-Encoding: {coding}\r\n\r\n".encode())
        for chunk in chunks:
            connection.sendall(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        connection.sendall(b"0\r\n\r\n")

    with serve(handler) as port:
        assert probe_http(f"http://127.0.0.1:{port}/").body == TEXT


def test_a_request_says_which_codings_it_reads():
    seen = []

    def handler(connection):
        seen.append(read_request(connection).decode().lower())
        answer(b"")(connection)

    with serve(handler) as port:
        probe_http(f"http://127.0.0.1:{port}/")
        probe_http(f"http://127.0.0.1:{port}/", headers={"Accept-Encoding": "identity"})
    assert "\r\naccept-encoding: gzip, deflate\r\n" in seen[0]
    assert "\r\naccept-encoding: identity\r\n" in seen[1]


BODYLESS = {
    "HEAD": ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\nContent-Encoding: gzip\r\n\r\n"),
    "204": ("GET", b"HTTP/1.1 204 No Content\r\nContent-Encoding: gzip\r\n\r\n"),
    "205 of no length": ("GET", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
}


@pytest.mark.parametrize(("method", "head"), BODYLESS.values(), ids=BODYLESS)
def test_a_response_without_a_body_is_complete_after_its_head(method, head):
    def handler(connection):
        read_request(connection)
        connection.sendall(head)
        connection.recv(1)  # keeps the connection open

    with serve(handler) as port:
        result = probe_http(f"http://127.0.0.1:{port}/", method=method)
    assert (result.reason, result.body) == (Reason.OK, b""), result


def test_304_has_no_body_either():
    with serve(answer(b"", status="304 Not Modified")) as port:
        assert probe_http(f"http://127.0.0.1:{port}/").detail == "HTTP 304"


def test_the_limit_counts_decoded_bytes():
    with serve(_coded("gzip", gzip.compress(b"x" * 5000))) as port:
        exact = probe_http(f"http://127.0.0.1:{port}/", max_body_bytes=5000)
        short = probe_http(f"http://127.0.0.1:{port}/", max_body_bytes=4999)
    assert (exact.reason, exact.truncated, len(exact.body)) == (Reason.OK, False, 5000)
    assert (short.reason, short.truncated, len(short.body)) == (Reason.OK, True, 4999)


def test_a_body_that_stops_arriving_is_truncated_within_the_limit_and_late_above_it():
    def handler(connection):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n")
        connection.sendall(b"x" * 70_000)
        connection.recv(1)

    with serve(handler) as port:
        cut = probe_http(f"http://127.0.0.1:{port}/", max_body_bytes=65536, timeout_s=0.5)
        late = probe_http(f"http://127.0.0.1:{port}/", max_body_bytes=99_999, timeout_s=0.5)
    assert (cut.reason, cut.truncated, len(cut.body)) == (Reason.OK, True, 65536)
    assert late.reason is Reason.TIMEOUT


# body, media type, text
TEXTS = {
    "UTF-8 without a charset": ("café".encode(), "text/plain", "café"),
    "Latin-1": (b"caf\xe9", "text/html; charset=iso-8859-1", "café"),
    "a charset in quotation marks and capitals": (b"caf\xe9", 'text/html; Charset="ISO-8859-1"', "café"),
    "Windows": ("€".encode("cp1252"), "text/plain;charset=windows-1252", "€"),
    "Japanese": ("日本".encode("shift_jis"), "text/plain; charset=Shift_JIS", "日本"),
    "a byte order mark of UTF-8": ("\ufeffcafé".encode(), "text/plain", "café"),
    "a byte order mark of UTF-16": ("café".encode("utf-16"), "text/plain", "café"),
    "a byte order mark of UTF-16, big-endian": ("\ufeffcafé".encode("utf-16-be"), "text/plain", "café"),
    "a byte order mark of UTF-32": ("café".encode("utf-32"), "text/plain", "café"),
    "a mark that contradicts the charset": ("\ufeffcafé".encode(), "text/plain; charset=iso-8859-1", "café"),
    "UTF-16 by its charset": ("café".encode("utf-16-le"), "text/plain; charset=utf-16le", "café"),
    "an unknown charset": ("café".encode(), "text/plain; charset=klingon", "café"),
    "a codec that is no charset": (b"caf", "text/plain; charset=zlib", "caf"),
    "a codec that always fails": (b"caf", "text/plain; charset=undefined", "caf"),
    "a charset with a NUL": (b"caf", "text/plain; charset=a\0b", "caf"),
    "a codec of quadratic time": (b"a-" * 300_000, "text/plain; charset=punycode", "a-" * 300_000),
    "bytes that are not UTF-8": (b"caf\xe9", "text/plain", "caf\ufffd"),
    "no body": (b"", "", ""),
}


def _result(body, media_type):
    headers = (("content-type", media_type),)
    return ProbeResult(url="http://x/", reason=Reason.OK, http_status=200, headers=headers, body=body)


@pytest.mark.parametrize(("body", "media_type", "text"), TEXTS.values(), ids=TEXTS)
def test_a_body_is_read_as_text_by_its_mark_or_charset(body, media_type, text):
    assert _result(body, media_type).text == text


VALUE = {"status": "ok", "name": "café"}
JSON = json.dumps(VALUE, ensure_ascii=False)
# body, media type, value
DOCUMENTS = {
    "UTF-8": (JSON.encode(), "application/json", VALUE),
    "a byte order mark of UTF-8": (b"\xef\xbb\xbf" + JSON.encode(), "application/json", VALUE),
    "UTF-16 with a mark": (JSON.encode("utf-16"), "application/json", VALUE),
    "UTF-32 with a mark": (JSON.encode("utf-32"), "application/json", VALUE),
    "Latin-1 by its charset": (JSON.encode("latin-1"), "application/json; charset=iso-8859-1", VALUE),
    "UTF-16 by its charset": (JSON.encode("utf-16-be"), "application/json; charset=utf-16be", VALUE),
    "UTF-8 called ASCII": (JSON.encode(), "application/json; charset=us-ascii", VALUE),
    "an unpaired surrogate": (rb'{"a": "x\ud83d"}', "application/json", {"a": "x\ufffd"}),
    "an unpaired low surrogate": (rb'{"a": "\uDE00x"}', "application/json", {"a": "\ufffdx"}),
    "two surrogates in the wrong order": (rb'{"a": "\ude00\ud83d"}', "application/json", {"a": "\ufffd\ufffd"}),
    "a pair of surrogates": (rb'{"a": "\ud83d\ude00"}', "application/json", {"a": "😀"}),
    "a backslash before what looks like one": (rb'{"a": "\\ud83d"}', "application/json", {"a": r"\ud83d"}),
}


@pytest.mark.parametrize(("body", "media_type", "value"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_json_is_read_in_any_charset(body, media_type, value):
    assert read_json(_result(body, media_type)) == value


@pytest.mark.parametrize("body", [b'{"a": NaN}', b'{"a": 1e400}', b'{"a": -Infinity}', b'{"a": "\xff"}'])
def test_what_json_forbids_is_refused(body):
    with pytest.raises(UntrustedError, match="the body is not JSON"):
        read_json(_result(body, "application/json"))


# what a server says beside a status that is not 2xx: media type, body, detail
SAYINGS = {
    "a title of nginx": (
        "400 Bad Request",
        "text/html",
        b"<html>\r\n<head><title>400 No required SSL certificate was sent</title></head></html>",
        "HTTP 400: No required SSL certificate was sent",
    ),
    "a title that repeats the status": (
        "503 Busy",
        "text/html",
        b"<title>503 Service Unavailable</title>",
        "HTTP 503",
    ),
    "the first line of a text": ("500 No", "text/plain; charset=utf-8", b"disk full\nat line 1", "HTTP 500: disk full"),
    "a text of one long line": ("500 No", "text/plain", b"x" * 999, "HTTP 500: " + "x" * 79 + "…"),
    "escape codes": ("500 No", "text/plain", b"\x1b[31mred", "HTTP 500: \\x1b[31mred"),
    "JSON": ("500 No", "application/json", b'{"token": "secret"}', "HTTP 500"),
    "a page without a title": ("404 No", "text/html", b"<h1>lost</h1>", "HTTP 404"),
}


@pytest.mark.parametrize(("status", "media_type", "body", "detail"), SAYINGS.values(), ids=SAYINGS)
def test_a_failure_says_what_the_server_says_to_a_person(status, media_type, body, detail):
    with serve(answer(body, status=status, headers=f"Content-Type: {media_type}\r\n")) as port:
        assert probe_http(f"http://127.0.0.1:{port}/").detail == detail
