"""Responses without end to any request of the generator: little memory, and an error that names the target."""

import gzip
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.services.conftest import RunningService, StartService
from tests.support.servers import Handler, answer, endless, read_request, serve

MAX_RSS_MIB = 200
TIMEOUT_S = 3
MIB = 1024 * 1024


def without_end(head: bytes, part: bytes) -> Handler:
    """Send a head, then `part` again and again."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(head)
        block = part * (65536 // len(part) + 1)
        while True:
            connection.sendall(block)

    return handle


def encoded(body: bytes, encoding: str) -> Handler:
    return answer(body, headers=f"Content-Encoding: {encoding}\r\nContent-Type: application/json\r\n")


OK = b"HTTP/1.1 200 OK\r\n"
BOMB = gzip.compress(bytes(400 * MIB), 9)
SHAPES: dict[str, tuple[Handler, str]] = {
    "a body of 1 GB": (endless, "larger than"),
    "a chunked body without end": (
        without_end(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"400\r\n" + b"x" * 1024 + b"\r\n"),
        "larger than",
    ),
    "a body in pieces of one byte": (
        without_end(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        "more than 10000 pieces",
    ),
    "a body without end or length": (without_end(OK + b"\r\n", b"x"), "larger than"),
    "a body of 400 MiB as gzip": (encoded(BOMB, "gzip"), "larger than"),
    "a body of gigabytes as gzip of gzip": (encoded(gzip.compress(BOMB * 20, 9), "gzip, gzip"), "content encoding"),
    "a body of zstd, which nobody asked for": (encoded(b"\x28\xb5\x2f\xfd", "zstd"), "content encoding 'zstd'"),
    "headers without end": (without_end(OK, b"X-A: b\r\n"), "headers or trailers are larger"),
    "one header without end": (without_end(OK + b"X-A: ", b"b"), "headers or trailers are larger"),
    "trailers without end": (
        without_end(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: b\r\n"),
        "headers or trailers are larger",
    ),
    "a chunk size without end": (
        without_end(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
        "headers or trailers are larger|illegal",
    ),
    "interim responses without end": (without_end(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), "no response in time"),
    "an error with a body of 1 GB": (
        without_end(b"HTTP/1.1 500 Oops\r\nContent-Length: 1073741824\r\n\r\n", b"x"),
        "larger than",
    ),
}


def peak_rss_mib(service: RunningService) -> float:
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]  # Linux has this line


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], str]:
    """Return the credentials of a service account that gets its token from a port."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    text = '{"client_email": "a@example.org", "private_key": %s, "token_uri": "http://127.0.0.1:%d/token"}'
    return lambda port: text % (repr(pem).replace("'", '"'), port)


@pytest.fixture
def start_generator(start_service: StartService) -> Callable[..., RunningService]:
    return lambda **env: start_service(
        "generator", until="/live", DRY_RUN_MODE="true", REQUEST_TIMEOUT=str(TIMEOUT_S), **env
    )


def ask(generator: RunningService) -> str:
    """Return the reason why a generation failed, which must come soon and cost little memory."""
    started = time.monotonic()
    with generator.client() as client:
        response = client.post("/api/v2/generate-content", json={})
    assert time.monotonic() - started < 20
    assert response.status_code == 502
    assert peak_rss_mib(generator) < MAX_RSS_MIB
    return str(response.json()["detail"])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_publisher_that_sends_without_end_costs_little_and_is_named(
    start_generator: Callable[..., RunningService], shape: str
) -> None:
    handler, reason = SHAPES[shape]
    with serve(handler) as port:
        url = f"http://127.0.0.1:{port}"
        detail = ask(start_generator(MOCK_CRM_BASE_URL=url, MOCK_PLATFORM_BASE_URL=url))
    assert re.search(rf"email: CRM service: .*({reason}).*web: Platform service", detail)


SOURCES = {
    "url": {"LIVING_DOC_TYPE": "url", "LIVING_DOC_URL": "http://127.0.0.1:{port}/a.md"},
    "a Notion database": {"NOTION_DATABASE_ID": "d"},
    "a Notion page": {"LIVING_DOC_ID": "p"},
    "a Google token": {"LIVING_DOC_TYPE": "google_docs"},
    "a Google document": {"LIVING_DOC_TYPE": "google_docs"},
}
NAMES = {"url": "a.md", "a Google token": "Google token exchange", "a Google document": "Google Docs"}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("shape", ["a body of 1 GB", "a body of 400 MiB as gzip", "headers without end"])
def test_a_document_source_that_sends_without_end_costs_little_and_is_named(
    start_generator: Callable[..., RunningService], source: str, shape: str, account: Callable[[int], str]
) -> None:
    handler, reason = SHAPES[shape]
    token = answer(b'{"access_token": "t", "expires_in": 3600}')
    with serve(handler) as port, serve(token) as token_port:
        env = {name: value.format(port=port) for name, value in SOURCES[source].items()}
        if source.startswith("a Notion"):
            env |= {"LIVING_DOC_TYPE": "notion", "NOTION_API_KEY": "k", "NOTION_BASE_URL": f"http://127.0.0.1:{port}"}
        if source.startswith("a Google"):
            env["GOOGLE_CREDENTIALS_JSON"] = account(port if source == "a Google token" else token_port)
            env |= {"GOOGLE_DOCS_BASE_URL": f"http://127.0.0.1:{port}", "LIVING_DOC_ID": "d"}
        detail = ask(start_generator(**env))
    assert re.search(rf"{NAMES.get(source, 'Notion')}: .*({reason})", detail)
