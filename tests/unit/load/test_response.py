"""Responses are framed correctly, no matter how their bytes are split into packets."""

import asyncio
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.loading import endpoint, plan_for, report_of
from tests.support.servers import read_request, serve
from toombos_cli.load.engine.connection import Connection
from toombos_cli.load.engine.fleet import run_engine
from toombos_cli.load.engine.recorder import Recorder, Tally
from toombos_cli.load.engine.response import MalformedResponseError, ResponseReader
from toombos_cli.load.plan import LoadRequest

BIG = b"x" * 10_000_000
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nhi"
# name, the bytes of the response, its status, whether the connection can be used again
RESPONSES = [
    ("a body with a length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, True),
    ("an empty body", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, True),
    ("a chunked body", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", 200, True),
    ("a chunked body with trailers", CHUNKED + b"1;a=b\r\nx\r\n0\r\nA: b\r\n\r\n", 200, True),
    ("204 without a body", b"HTTP/1.1 204 No Content\r\n\r\n", 204, True),
    ("304 with a length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", 304, True),
    ("100 Continue first", b"HTTP/1.1 100 Continue\r\n\r\n" + CREATED, 201, True),
    ("103 Early Hints first", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + CREATED, 201, True),
    ("Connection: close", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", 200, False),
    ("HTTP/1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, False),
    ("HTTP/1.0 with keep-alive", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", 200, True),
    ("no reason phrase", b"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", 404, True),
    ("header names in any case", b"HTTP/1.1 500 X\r\ncONTENT-lENGTH:   3   \r\n\r\nabc", 500, True),
    ("a blank line in the body", b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n\r\n\r\n\r\n\r\n", 200, True),
    ("a body of 10 MB", b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + BIG, 200, True),
]  # fmt: skip
IDS = [row[0] for row in RESPONSES]
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nuntil the end"


@pytest.mark.parametrize(("data", "status", "keep_alive"), [row[1:] for row in RESPONSES], ids=IDS)
def test_a_response_ends_where_its_header_says(data, status, keep_alive):
    reader = ResponseReader()
    assert not reader.feed(data[:-1])
    assert reader.feed(data[-1:])
    assert (reader.status, reader.keep_alive) == (status, keep_alive)


@pytest.mark.parametrize("data", [row[1] for row in RESPONSES[:-1]], ids=IDS[:-1])
def test_a_response_may_arrive_byte_by_byte(data):
    reader = ResponseReader()
    complete = [reader.feed(data[i : i + 1]) for i in range(len(data))]
    assert complete == [False] * (len(data) - 1) + [True]


def test_a_body_without_a_length_ends_with_the_connection():
    reader = ResponseReader()
    assert not reader.feed(UNTIL_CLOSE)
    assert reader.finish()
    assert (reader.status, reader.keep_alive) == (200, False)


@pytest.mark.parametrize("length", range(1, len(RESPONSES[0][1])))
def test_a_response_with_a_length_is_incomplete_if_the_connection_ends_early(length):
    reader = ResponseReader()
    reader.feed(RESPONSES[0][1][:length])
    assert not reader.finish()


def test_the_response_to_head_has_no_body():
    reader = ResponseReader()
    for _ in range(2):
        reader.begin(bodiless=True)
        assert reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        assert reader.keep_alive
    reader.begin(bodiless=False)
    assert reader.feed(RESPONSES[0][1])


@pytest.mark.parametrize("data", [b"garbage\r\n", b"HTTP/1.1 abc\r\n\r\n", RESPONSES[0][1] + b"more"])
def test_bytes_that_are_not_a_response_are_malformed(data):
    with pytest.raises(MalformedResponseError, match=r"."):
        ResponseReader().feed(data)


ENDLESS = {
    "a header line": (b"HTTP/1.1 200 OK\r\nX: ", b"y" * 10_000),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000),
    "interim responses": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "trailers": (CHUNKED + b"1\r\nx\r\n0\r\n", b"X: y\r\n" * 1000),
    "a trailer line": (CHUNKED + b"1\r\nx\r\n0\r\nX: ", b"y" * 10_000),
}


@pytest.mark.parametrize(("begin", "more"), ENDLESS.values(), ids=ENDLESS)
def test_a_response_is_malformed_if_there_is_no_end_of(begin, more):
    reader = ResponseReader()
    reader.feed(begin)
    reader.feed(more)
    with pytest.raises(MalformedResponseError):
        reader.feed(more * 20)


@pytest.mark.parametrize(("data", "status"), [row[1:3] for row in RESPONSES], ids=IDS)
def test_the_engine_counts_each_kind_of_response_over_a_real_socket(data, status):
    assert _statuses(data) == {str(status): 4}


def test_the_engine_counts_a_body_that_ends_with_the_connection():
    assert _statuses(UNTIL_CLOSE, hang_up=True) == {"200": 4}


@pytest.mark.parametrize("size", [1, 7, 30])
def test_headers_may_be_split_into_packets(size):
    assert _statuses(RESPONSES[0][1], packet=size) == {"200": 4}


def test_the_engine_expects_no_body_after_a_head_request():
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
    assert _statuses(data, method="HEAD") == {"200": 4}


def _statuses(data: bytes, *, packet: int | None = None, hang_up: bool = False, method: str = "GET") -> dict[str, int]:
    """Return how the engine counts four such responses."""

    def handle(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while read_request(connection):
            for start in range(0, len(data), packet or len(data)):
                connection.sendall(data[start : start + (packet or len(data))])
            if hang_up:
                return

    with serve(handle) as port:
        plan = plan_for(port, requests=4, connections=1, method=method)
        report = report_of(plan, run_engine(plan))
    assert not report.errors
    return report.status


class _Transport(asyncio.Transport):
    """The part of a transport that a connection uses, with a real socket that swallows the requests."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__({"socket": end})

    def abort(self) -> None:
        pass


class _Owner:
    keepalive = retry_stale = True

    def __init__(self) -> None:
        self.events: list[str] = []

    def idle(self, connection: Connection) -> None:
        self.events.append("idle")

    def lost(self, connection: Connection, *, answered: bool) -> None:
        self.events.append("lost")

    def stale(self, connection: Connection, tally: Tally, due: int) -> None:
        self.events.append("stale")

    def closed_at_rest(self, connection: Connection) -> None:
        self.events.append("closed")


SMALL = [row[1] for row in RESPONSES[:-1]]
MUTATED = st.builds(
    lambda data, at, byte: data[: at % len(data)] + bytes([byte]) + data[at % len(data) + 1 :],
    st.sampled_from(SMALL),
    st.integers(0, 200),
    st.integers(0, 255),
)


@settings(max_examples=400, deadline=None)
@given(responses=st.lists(st.one_of(st.sampled_from(SMALL), MUTATED), min_size=1, max_size=6))
def test_a_remembered_head_is_framed_as_the_parser_frames_it(responses):
    """Compare a connection, which remembers heads, with a reader that parses every response."""
    request: LoadRequest = endpoint(80)
    recorder = Recorder((request,), 0)
    tally = recorder.tallies[0]
    owner = _Owner()
    near, far = socket.socketpair()
    expected: dict[int, int] = {}
    with near, far:
        for data in [r for response in responses for r in (response, response)]:  # each twice: new, then remembered
            connection = Connection(owner)
            connection.connection_made(_Transport(near))
            connection.send(tally, 0)
            far.recv(65536)
            before = len(owner.events)
            connection.data_received(data)
            reader = ResponseReader()
            try:
                complete = reader.feed(data)
            except MalformedResponseError:
                assert owner.events[before:] == ["lost"]
                continue
            assert owner.events[before:] == (["idle" if reader.keep_alive else "lost"] if complete else [])
            if complete:
                expected[reader.status] = expected.get(reader.status, 0) + 1
    recorder.cut(1, sent=0, inflight=0)
    counted = {status: sum(found.service.values()) for (status, _), found in tally.result.by_status.items()}
    assert {status: count for status, count in counted.items() if count} == expected
