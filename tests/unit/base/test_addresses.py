"""Hosts, ports and URLs as texts."""

from urllib.parse import urlsplit

import pytest

from toombos_cli.base.addresses import host_port, is_http_token, request_target, url_address


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        pytest.param("127.0.0.1", "127.0.0.1:80", id="IPv4"),
        pytest.param("crm.example", "crm.example:80", id="a name"),
        pytest.param("::1", "[::1]:80", id="IPv6 in brackets"),
    ],
)
def test_host_and_port(host: str, shown: str) -> None:
    assert host_port(host, 80) == shown


@pytest.mark.parametrize(
    ("url", "address"),
    [
        pytest.param("http://example", ("example", 80), id="http"),
        pytest.param("https://[2001:db8::1]/x", ("2001:db8::1", 443), id="https, IPv6"),
        pytest.param("http://user:secret@example:8000", ("example", 8000), id="a port of its own"),
        pytest.param("oracle://db/x", ("db", None), id="a scheme whose port is not known"),
        pytest.param("sqlite:///data/x.db", ("", None), id="a file"),
    ],
)
def test_the_address_of_a_url(url: str, address: tuple[str, int | None]) -> None:
    assert url_address(url) == address


@pytest.mark.parametrize(
    ("url", "target"),
    [
        pytest.param("http://h", "/", id="no path"),
        pytest.param("http://h/a b?c d", "/a%20b?c%20d", id="blanks"),
        pytest.param("http://h/a%20b?x=%C3%A4", "/a%20b?x=%C3%A4", id="encoded already"),
        pytest.param("http://h/ä?q=/?", "/%C3%A4?q=/?", id="a question mark in the query"),
    ],
)
def test_the_target_of_a_request(url: str, target: str) -> None:
    assert request_target(urlsplit(url)) == target


@pytest.mark.parametrize(
    ("text", "expected"),
    [("x-api-key", True), ("GET", True), ("", False), ("a b", False), ("a:", False), ("a\r\nb", False), ("ä", False)],
)
def test_what_a_header_or_method_may_be_called(text: str, expected: bool) -> None:
    assert is_http_token(text) is expected
