"""Hosts, ports and URLs as text."""

from urllib.parse import urlsplit

import pytest

from toombos_cli.base.addresses import host_port, is_http_token, request_target, url_address


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        pytest.param("127.0.0.1", "127.0.0.1:80", id="IPv4"),
        pytest.param("crm.example", "crm.example:80", id="a host name"),
        pytest.param("::1", "[::1]:80", id="IPv6 in brackets"),
    ],
)
def test_a_host_and_a_port_make_an_address(host: str, shown: str) -> None:
    assert host_port(host, 80) == shown


@pytest.mark.parametrize(
    ("url", "address"),
    [
        pytest.param("http://example", ("example", 80), id="http has a default port"),
        pytest.param("https://[2001:db8::1]/x", ("2001:db8::1", 443), id="https with an IPv6 address"),
        pytest.param("http://user:secret@example:8000", ("example", 8000), id="the URL names the port"),
        pytest.param("oracle://db/x", ("db", None), id="the default port of the scheme is unknown"),
        pytest.param("sqlite:///data/x.db", ("", None), id="the URL of a file"),
    ],
)
def test_a_url_yields_the_host_and_the_port(url: str, address: tuple[str, int | None]) -> None:
    assert url_address(url) == address


@pytest.mark.parametrize(
    ("url", "target"),
    [
        pytest.param("http://h", "/", id="no path"),
        pytest.param("http://h/a b?c d", "/a%20b?c%20d", id="spaces are encoded"),
        pytest.param("http://h/a%20b?x=%C3%A4", "/a%20b?x=%C3%A4", id="encoded text stays"),
        pytest.param("http://h/ä?q=/?", "/%C3%A4?q=/?", id="a question mark in the query"),
    ],
)
def test_a_request_target_is_percent_encoded(url: str, target: str) -> None:
    assert request_target(urlsplit(url)) == target


@pytest.mark.parametrize(
    ("text", "expected"),
    [("x-api-key", True), ("GET", True), ("", False), ("a b", False), ("a:", False), ("a\r\nb", False), ("ä", False)],
)
def test_header_names_and_methods_are_http_tokens(text: str, expected: bool) -> None:
    assert is_http_token(text) is expected
