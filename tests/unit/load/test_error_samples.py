"""Samples of error responses: one per status from 400, printable and without secrets."""

import itertools
import socket

import pytest

from tests.support.loading import endpoint, plan_for, report_of
from tests.support.servers import read_request, serve
from toombos_cli.load.engine.fleet import run_engine

HEAD = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n"
SECRET = "sekret-0123456789"


def samples_of(*responses: bytes, headers: tuple[tuple[str, str], ...] = ()) -> dict[str, str]:
    """Return the samples of a run of eight requests that get these responses in turn."""

    def handle(connection: socket.socket) -> None:
        for data in itertools.cycle(responses):
            if not read_request(connection):
                return
            connection.sendall(data)

    with serve(handle) as port:
        plan = plan_for(port, requests=8, connections=1, endpoints=(endpoint(port, headers=headers),))
        return report_of(plan, run_engine(plan)).samples


def response(status: bytes, body: bytes) -> bytes:
    return HEAD % (status, len(body)) + body


FRAMINGS = {
    "Content-Length": response(b"422 No", b"no such tone"),
    "chunked": b"HTTP/1.1 422 No\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nno such \r\n4\r\ntone\r\n0\r\n\r\n",
    "100 Continue first": b"HTTP/1.1 100 Continue\r\n\r\n" + response(b"422 No", b"no such tone"),
    "a body of several lines": response(b"422 No", b"no\r\n such \ttone"),
}


@pytest.mark.parametrize("data", FRAMINGS.values(), ids=FRAMINGS)
def test_the_sample_is_the_body_of_the_first_response(data):
    assert samples_of(data) == {"422": "no such tone"}


def test_each_error_status_with_a_body_has_one_sample():
    responses = response(b"200 OK", b"fine"), response(b"404 No", b"not here"), response(b"500 No", b"")
    assert samples_of(*responses, response(b"404 No", b"nor here")) == {"404": "not here"}


def test_a_long_body_is_shortened():
    (sample,) = samples_of(response(b"500 No", b"word " * 100_000)).values()
    assert sample.startswith("word word")
    assert len(sample) <= 200


@pytest.mark.parametrize("offset", range(150, 220, 10))
def test_a_secret_of_the_request_is_masked_even_where_the_body_is_cut(offset):
    body = b"x " * (offset // 2) + b"you sent " + SECRET.encode()
    headers = (("Authorization", f"Bearer {SECRET}"),)
    (sample,) = samples_of(response(b"401 No", body), headers=headers).values()
    assert SECRET[:6] not in sample
