"""Hosts, ports and URLs as text; no name is looked up here."""

import re
from functools import lru_cache
from urllib.parse import SplitResult, quote, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_KEPT = "/%:@!$&'()*+,;=~-._"  # characters of a path that are not percent-encoded (RFC 3986, 3.3)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2


@lru_cache(maxsize=4096)
def is_loopback(host: str) -> bool:
    """Report whether a host name or address is a loopback one."""
    import ipaddress

    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def url_host(host: str) -> str:
    """Return the host as written in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def host_port(host: str, port: int) -> str:
    """Return `host:port`, with an IPv6 address in brackets."""
    return f"{url_host(host)}:{port}"


def url_address(url: str) -> tuple[str, int | None]:
    """Return host and port of a URL; the port defaults to the scheme's. Raise ValueError."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme)


def request_target(url: SplitResult) -> str:
    """Return path and query of a URL as an HTTP request sends them; existing percent-encoding is kept."""
    path = quote(url.path or "/", safe=_KEPT)
    return f"{path}?{quote(url.query, safe=_KEPT + '?')}" if url.query else path


def is_http_token(text: str) -> bool:
    """Report whether a text is valid as a header name or method."""
    return _TOKEN.fullmatch(text) is not None
