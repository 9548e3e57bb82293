"""The egress guard of dry-run mode: which hosts are allowed, and that a refusal sends nothing."""

import asyncio
import ipaddress
from pathlib import Path

import httpx
import pytest
from pytest_httpserver import HTTPServer

import services.generator
from services.generator.outgoing.egress import Address, EgressGuard, EgressRefusedError


class Recorder(httpx.AsyncBaseTransport):
    """A stand-in for the network that records what would have been sent."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200)


def ask(url: str, *, answers: tuple[str, ...] = (), allowed: frozenset[str] = frozenset()) -> tuple[Recorder, int, int]:
    """Return (network, counted refusals, resolved names) after one request to `url` with our own resolver."""
    network = Recorder()
    refused: list[None] = []
    asked: list[str] = []

    async def resolve(host: str, port: int) -> tuple[Address, ...]:
        asked.append(host)
        return tuple(map(ipaddress.ip_address, answers or (host,)))

    guard = EgressGuard(network, allowed_hosts=allowed, count_refusal=lambda: refused.append(None), resolve=resolve)

    async def request() -> None:
        async with httpx.AsyncClient(transport=guard) as client:
            await client.get(url)

    try:
        asyncio.run(request())
    except EgressRefusedError:
        assert not network.requests
    return network, len(refused), len(asked)


@pytest.mark.parametrize(
    ("url", "answers", "connected_to"),
    [
        ("http://127.0.0.1:1/", (), "127.0.0.1"),
        ("http://127.9.9.9:1/", (), "127.9.9.9"),
        ("http://[::1]:1/", (), "::1"),
        ("http://localhost:1/", ("::1", "127.0.0.1"), "::1"),
        ("http://mocks.localhost:1/", ("127.0.0.1",), "127.0.0.1"),
    ],
)
def test_a_loopback_address_is_allowed(url: str, answers: tuple[str, ...], connected_to: str) -> None:
    network, refused, _ = ask(url, answers=answers)
    assert (network.requests[0].url.host, refused) == (connected_to, 0)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.crm.example/",
        "http://93.184.216.34/",
        "http://10.0.0.8/",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0:8001/",
        "http://[2001:db8::1]/",
        "http://[::ffff:93.184.216.34]/",
        "http://127.0.0.1.nip.example/",
        "http://localhost.evil.example/",
        "http://2130706433/",
        "http://user@evil.example@127.0.0.1.example/",
    ],
)
def test_any_other_host_is_refused_before_its_name_is_resolved(url: str) -> None:
    network, refused, lookups = ask(url)
    assert (network.requests, refused, lookups) == ([], 1, 0)


@pytest.mark.parametrize("answers", [("93.184.216.34",), ("127.0.0.1", "93.184.216.34"), ("::ffff:8.8.8.8",)])
def test_every_address_of_a_name_is_checked(answers: tuple[str, ...]) -> None:
    for url, allowed in (("http://localhost/", frozenset()), ("http://mock-crm/", frozenset({"mock-crm"}))):
        network, refused, _ = ask(url, answers=answers, allowed=allowed)
        assert (network.requests, refused) == ([], 1)


def test_an_allow_listed_mock_may_have_a_private_address() -> None:
    network, refused, _ = ask("http://Mock-CRM:8001/", answers=("172.18.0.3",), allowed=frozenset({"mock-crm"}))
    assert (network.requests[0].url.host, refused) == ("172.18.0.3", 0)
    assert network.requests[0].headers["Host"].lower() == "mock-crm:8001"


def test_the_connection_goes_to_the_checked_address(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/x").respond_with_data("ok")
    guard = EgressGuard(httpx.AsyncHTTPTransport(), allowed_hosts=frozenset(), count_refusal=lambda: None)

    async def request() -> httpx.Response:
        async with httpx.AsyncClient(transport=guard) as client:
            return await client.get(f"http://localhost:{httpserver.port}/x")

    assert asyncio.run(request()).text == "ok"
    assert httpserver.log[0][0].headers["Host"] == f"localhost:{httpserver.port}"


def test_no_other_module_creates_an_http_client() -> None:
    package = Path(services.generator.__file__).parent
    makers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if any(
            word in path.read_text("utf-8") for word in ("AsyncClient(", "httpx.Client(", "urlopen(", "requests.get(")
        )
    }
    assert makers == {"outgoing/client.py"}
