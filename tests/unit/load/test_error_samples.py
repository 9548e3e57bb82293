"""What answers of 400 and above say is shown once for each status, readable and without secrets."""

import itertools
import socket

import pytest

from tests.support.loading import endpoint, plan_for, report_of
from tests.support.servers import read_request, serve
from toombos_cli.load.engine.fleet import run_engine

HEAD = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n"
SECRET = "sekret-0123456789"


def samples_of(*answers: bytes, headers: tuple[tuple[str, str], ...] = ()) -> dict[str, str]:
    """The samples of a run of eight requests that get these answers in turn."""

    def handle(connection: socket.socket) -> None:
        for answer in itertools.cycle(answers):
            if not read_request(connection):
                return
            connection.sendall(answer)

    with serve(handle) as port:
        plan = plan_for(port, requests=8, connections=1, endpoints=(endpoint(port, headers=headers),))
        return report_of(plan, run_engine(plan)).samples


def response(status: bytes, body: bytes) -> bytes:
    return HEAD % (status, len(body)) + body


FRAMINGS = {
    "content-length": response(b"422 No", b"no such tone"),
    "chunked": b"HTTP/1.1 422 No\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nno such \r\n4\r\ntone\r\n0\r\n\r\n",
    "after 100-continue": b"HTTP/1.1 100 Continue\r\n\r\n" + response(b"422 No", b"no such tone"),
    "several lines": response(b"422 No", b"no\r\n such \ttone"),
}


@pytest.mark.parametrize("answer", FRAMINGS.values(), ids=FRAMINGS)
def test_an_error_is_told_in_the_words_of_its_first_answer(answer):
    assert samples_of(answer) == {"422": "no such tone"}


def test_each_status_has_its_own_and_success_and_silence_have_none():
    answers = response(b"200 OK", b"fine"), response(b"404 No", b"not here"), response(b"500 No", b"")
    assert samples_of(*answers, response(b"404 No", b"nor here")) == {"404": "not here"}


def test_a_long_body_is_shortened():
    (said,) = samples_of(response(b"500 No", b"word " * 100_000)).values()
    assert said.startswith("word word")
    assert len(said) <= 200


@pytest.mark.parametrize("offset", range(150, 220, 10))
def test_a_secret_of_the_request_is_masked_wherever_the_body_is_cut(offset):
    body = b"x " * (offset // 2) + b"you sent " + SECRET.encode()
    headers = (("Authorization", f"Bearer {SECRET}"),)
    (said,) = samples_of(response(b"401 No", body), headers=headers).values()
    assert SECRET[:6] not in said
