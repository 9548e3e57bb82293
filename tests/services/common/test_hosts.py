"""A service that needs no key answers only to its own names, so that no page of another site can use it."""

from typing import Any

import httpx
import pytest

from services.common.app import create_app
from services.common.settings import ServiceSettings
from tests.services.common.test_connection_limits import connect
from tests.services.conftest import StartService, serve


class Settings(ServiceSettings):
    port: int = 0


class KeyedSettings(Settings):
    @property
    def needs_key(self) -> bool:
        return True


def statuses(settings: ServiceSettings, *heads: bytes) -> list[int]:
    """Return the statuses of requests with these Host lines."""
    found = []
    with serve(create_app(settings, service="notes", title="Notes", routers=[])) as client:
        for head in heads:
            with connect(client) as connection:
                connection.sendall(b"GET /live HTTP/1.1\r\n" + head + b"Connection: close\r\n\r\n")
                found.append(int(connection.recv(100).split(b" ")[1]))
    return found


def status(name: str, settings: type[ServiceSettings] = Settings, **values: Any) -> int:
    return statuses(settings(_env_file=None, **values), f"Host: {name}\r\n".encode("latin-1"))[0]


OWN = [
    "localhost",
    "localhost:8000",
    "LocalHost",
    "localhost.",
    "a.localhost",
    "127.0.0.1:8000",
    "127.0.0.9",
    "[::1]:8",
]
OTHERS = [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "192.0.2.1",
    "crm",
    "",
    "localhost, evil.example",
    "evil.example localhost",
    "localhost@evil.example",
    "localhost/evil.example",
    "[::1",
    "[::1]evil.example",
    "localhost:evil",
    "schön.example",
]


@pytest.mark.parametrize("host", OWN)
def test_a_service_answers_to_its_own_names(host: str) -> None:
    assert status(host) == 200


@pytest.mark.parametrize("host", OTHERS)
def test_a_service_without_a_key_refuses_other_names(host: str) -> None:
    assert status(host) == 400


@pytest.mark.parametrize(
    ("host", "values", "expected"),
    [
        pytest.param("crm:8001", {"allowed_hosts": "crm, host.docker.internal"}, 200, id="an allowed name"),
        pytest.param("host.docker.internal", {"allowed_hosts": "crm, HOST.docker.internal."}, 200, id="the second"),
        pytest.param("evil.example", {"allowed_hosts": "crm"}, 400, id="a name that is not allowed"),
        pytest.param("192.0.2.7:8001", {"host": "192.0.2.7"}, 200, id="the address on which it listens"),
        pytest.param("192.0.2.7:8001", {"host": "0.0.0.0"}, 200, id="an address, if it listens on all"),
        pytest.param("evil.example", {"host": "0.0.0.0"}, 400, id="a name, although it listens on all addresses"),
    ],
)
def test_names_and_addresses_can_be_allowed(host: str, values: dict[str, str], expected: int) -> None:
    assert status(host, **values) == expected


def test_a_service_with_a_key_answers_to_every_name() -> None:
    assert status("proxy.example", KeyedSettings) == 200


@pytest.mark.parametrize("settings", [Settings, KeyedSettings], ids=["without a key", "with a key"])
def test_two_host_headers_or_none_are_refused(settings: type[ServiceSettings]) -> None:
    assert statuses(settings(_env_file=None), b"Host: localhost\r\nHost: localhost\r\n", b"") == [400, 400]


@pytest.mark.parametrize(("key", "expected"), [({}, 400), ({"API_KEY": "k" * 20}, 200)], ids=["open", "with a key"])
def test_the_generator_is_protected_exactly_while_it_needs_no_key(
    start_service: StartService, key: dict[str, str], expected: int
) -> None:
    generator = start_service("generator", DRY_RUN_MODE="true", **key)
    response = httpx.get(f"{generator.url}/health", headers={"Host": "evil.example"}, trust_env=False)
    assert response.status_code == expected
