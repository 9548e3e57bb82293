"""A host name stands for all of its addresses, and a resolver that hangs stops nothing."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from toombos_cli.base import name_lookup
from toombos_cli.base.name_lookup import addresses_of, is_only_local
from toombos_cli.processes import conflicts

HOSTS = {
    "twin.test": ("127.0.0.9", "127.0.0.1"),
    "dual.test": ("::1", "127.0.0.1"),
    "wide.test": ("127.0.0.1", "192.0.2.7"),
    "scoped.test": ("fe80::1%eth0",),
    "mapped.test": ("::ffff:192.0.2.7",),
}


@pytest.fixture(autouse=True)
def _hosts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def look_up(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if host not in HOSTS:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in HOSTS[host]]

    name_lookup._looked_up.cache_clear()
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield
    name_lookup._looked_up.cache_clear()


@pytest.mark.parametrize(
    ("host", "listener", "expected"),
    [
        pytest.param("twin.test", "127.0.0.9", True, id="the first address of a name"),
        pytest.param("twin.test", "127.0.0.1", True, id="the second address of a name"),
        pytest.param("twin.test", "127.0.0.8", False, id="no address of a name"),
        pytest.param("twin.test", "0.0.0.0", True, id="a name and every address"),
        pytest.param("twin.test", "wide.test", True, id="two names with a common address"),
        pytest.param("scoped.test", "fe80::1", True, id="an address with a zone"),
        pytest.param("mapped.test", "192.0.2.7", True, id="an IPv4 address written as IPv6"),
        pytest.param("127.0.0.1", "::ffff:127.0.0.1", True, id="a listener on IPv4 through an IPv6 socket"),
        pytest.param("192.0.2.1", "::ffff:127.0.0.1", False, id="another IPv4 address through an IPv6 socket"),
        pytest.param("0:0:0:0:0:0:0:1", "::1", True, id="two spellings of one address"),
        pytest.param("unknown.test", "127.0.0.1", False, id="a name that is not known"),
        pytest.param("unknown.test", "unknown.test", True, id="a name that is not known, twice"),
        pytest.param("localhost", "::1", True, id="localhost"),
        pytest.param("127.0.0.1", "127.0.0.2", False, id="two addresses"),
    ],
)
def test_a_listener_serves_a_host_by_any_of_its_addresses(host: str, listener: str, expected: bool) -> None:
    assert conflicts(host, listener) is expected
    assert conflicts(listener, host) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [("twin.test", True), ("dual.test", True), ("wide.test", False), ("unknown.test", False), ("0.0.0.0", False)],
)
def test_a_name_is_local_if_all_of_its_addresses_are(host: str, expected: bool) -> None:
    assert is_only_local(host) is expected


def test_a_resolver_that_hangs_costs_a_second_once(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    asked = []

    def hang(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        over.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(name_lookup, "_KEPT_S", 3600.0)
    began = time.monotonic()
    assert not conflicts("slow.test", "127.0.0.1")
    assert not conflicts("slow.test", "127.0.0.2")
    assert addresses_of("slow.test") == frozenset()
    assert time.monotonic() - began < 5
    assert asked == ["slow.test"]
    over.set()
