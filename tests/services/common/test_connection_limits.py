"""Requests without end, slow requests and many connections: each has a limit, and the others are served meanwhile."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import psutil
import pytest
from fastapi import APIRouter
from pydantic import BaseModel

from services.common import protocol
from services.common.app import create_app
from services.common.settings import ServiceSettings
from tests.services.conftest import serve, service_environment
from tests.support.ports import free_port
from tests.support.waiting import wait_for

MIB = 1024 * 1024
GET = b"GET /live HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /notes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class Settings(ServiceSettings):
    port: int = 0


class Note(BaseModel):
    text: str


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    router = APIRouter()

    @router.post("/notes")
    async def write(note: Note) -> Note:
        return note

    @router.get("/large")
    async def large() -> str:
        return "x" * MIB

    app = create_app(Settings(_env_file=None), service="notes", title="Notes", routers=[router])
    with serve(app) as client:
        yield client


def connect(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=20)


def exchange(client: httpx.Client, *parts: bytes) -> bytes:
    """Send the parts, as far as the service reads them, and return everything that it sends until it closes."""
    with connect(client) as connection:
        with suppress(ConnectionError):
            for part in parts:
                connection.sendall(part)
        received = b""
        with suppress(ConnectionError):
            while chunk := connection.recv(65536):
                received += chunk
        return received


def status_of(response: bytes) -> int:
    return int(response.split(b" ")[1])


ONE_BYTE_CHUNKS = b"".join(b"1\r\n%c\r\n" % byte for byte in b'{"text": "' + b"x" * 30_000 + b'"}')
CLOSE = b"Connection: close\r\n\r\n"
LIMIT = protocol.MAX_HEAD_BYTES
HEADS: dict[str, tuple[tuple[bytes, ...], int]] = {
    "a head within the limit": ((GET, b"X-A: " + b"b" * 60_000 + b"\r\n", CLOSE), 200),
    "a hundred headers": ((GET, b"X-A: b\r\n" * 98, CLOSE), 200),
    "more than a hundred headers": ((GET, b"X-A: b\r\n" * 100, CLOSE), 431),
    "a header over the limit": ((GET, b"X-A: " + b"b" * LIMIT + b"\r\n", CLOSE), 431),
    "a header without end": ((GET, b"X-A: ", b"b" * (20 * MIB)), 431),
    "headers without end": ((GET, b"X-A: b\r\n" * (2 * MIB)), 431),
    "an address over the limit": ((b"GET /" + b"a" * LIMIT + b" HTTP/1.1\r\nHost: localhost\r\n", CLOSE), 431),
    "an address without end": ((b"GET /", b"a" * (20 * MIB)), 431),
    "a query without end": ((b"GET /?a=", b"a" * (20 * MIB)), 431),
    "a method without end": ((b"A" * (20 * MIB),), 400),
    "the name of a header without end": ((GET, b"A" * (20 * MIB)), 431),
    "blank lines without end": ((b"\r\n" * (10 * MIB),), 431),
    "trailers without end": (
        (POST, b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: b\r\n" * (4 * MIB)),
        431,
    ),
    "a trailer without end": ((POST, b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: ", b"b" * (20 * MIB)), 431),
    "an extension of a chunk without end": ((POST, b"Transfer-Encoding: chunked\r\n\r\n1;", b"b" * (20 * MIB)), 431),
    "a body in chunks of one byte": (
        (POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n", ONE_BYTE_CHUNKS, b"0\r\n\r\n"),
        200,
    ),
}


@pytest.mark.parametrize("case", HEADS)
def test_the_head_of_a_request_is_limited(client: httpx.Client, case: str) -> None:
    parts, status = HEADS[case]
    started = time.thread_time()
    response = exchange(client, *parts)
    assert status_of(response) == status
    assert b'{"detail"' in response or status == 200
    assert time.thread_time() - started < 5
    assert client.get("/live").status_code == 200


def test_many_requests_on_one_connection_are_answered_in_order(client: httpx.Client) -> None:
    responses = exchange(client, *[GET + b"\r\n"] * 50, b"GET /ready HTTP/1.1\r\nHost: localhost\r\n", CLOSE)
    assert responses.count(b"HTTP/1.1 200") == 51
    assert b'"checks"' in responses.rpartition(b"HTTP/1.1")[2]


def test_thousands_of_requests_sent_at_once_on_one_connection_are_refused(client: httpx.Client) -> None:
    assert b" 429 " in exchange(client, (GET + b"\r\n") * 5_000)
    assert client.get("/live").status_code == 200


SLOW: dict[str, tuple[bytes, bytes]] = {
    "no byte at all": (b"", b""),
    "half a head": (GET, b"HTTP/1.1 408"),
    "half an address": (b"GET /li", b"HTTP/1.1 408"),
    "half a body": (POST + b"Content-Length: 100\r\n\r\n{", b"HTTP/1.1 408"),
    "half a chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\n50\r\n{", b"HTTP/1.1 408"),
    "half a head after a response": (GET + b"\r\n" + GET, b"HTTP/1.1 200"),
}


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_WITHIN_S", "BODY_WITHIN_S", "READ_WITHIN_S"):
        monkeypatch.setattr(protocol, name, 0.4)


@pytest.mark.parametrize("drips", [False, True], ids=["silent", "a byte now and then"])
@pytest.mark.parametrize("case", SLOW)
def test_a_request_that_does_not_arrive_is_ended(
    short_limits: None, client: httpx.Client, case: str, drips: bool
) -> None:
    sent, expected = SLOW[case]
    with connect(client) as connection:
        connection.sendall(sent)
        started = time.monotonic()
        connection.settimeout(0.05)
        received = b""
        while time.monotonic() - started < 15:
            try:
                chunk = connection.recv(65536)
            except TimeoutError:
                with suppress(ConnectionError):
                    connection.send(b"1" if drips and sent else b"")
                continue
            except ConnectionError:
                break
            received += chunk
            if not chunk:
                break
        assert time.monotonic() - started < 12
        assert received.startswith(expected)


def test_a_response_that_nobody_reads_is_given_up(short_limits: None, client: httpx.Client) -> None:
    with connect(client) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
        address = connection.getsockname()

        def closed() -> bool:
            open_now = (c for c in psutil.Process().net_connections("tcp") if c.raddr == address)
            return all(c.status != psutil.CONN_ESTABLISHED for c in open_now)

        wait_for(closed, what="the end of the connection")
    assert client.get("/live").status_code == 200


def half_open(port: int, stack: ExitStack, request: bytes) -> None:
    connection = stack.enter_context(socket.socket())
    connection.settimeout(5)
    connection.connect(("127.0.0.1", port))
    connection.sendall(request)


@pytest.mark.parametrize(
    "request_part",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(GET, id="half a head"),
        pytest.param(POST + b"Content-Length: 100\r\n\r\n{", id="half a body"),
        pytest.param(GET + b"\r\n", id="a whole request, and then nothing"),
    ],
)
@pytest.mark.parametrize("name", ["crm", "generator"])
def test_three_hundred_waiting_connections_leave_a_service_with_256_files_healthy(
    tmp_path: Path, request_part: bytes, name: str
) -> None:
    port, log = free_port(), tmp_path / "log"
    limited = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256));"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"{limited} runpy.run_module('services.{name}', run_name='__main__')"],
            cwd=tmp_path,
            env=service_environment(PORT=str(port), DRY_RUN_MODE="true"),
            stdout=out,
            stderr=out,
        )
    try:
        wait_for(lambda: "listening on" in log.read_text(), within_s=60, what="the service")
        with ExitStack() as stack:
            for _ in range(300):
                half_open(port, stack, request_part)
            for _ in range(20):
                assert httpx.get(f"http://127.0.0.1:{port}/live", trust_env=False, timeout=5).status_code == 200
            assert httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False, timeout=20).status_code == 200
    finally:
        process.kill()
        process.wait()
    assert "Too many open files" not in log.read_text()
