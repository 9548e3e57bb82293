"""Hosts, ports and URLs as texts: no name is looked up here."""

import re
from functools import lru_cache
from urllib.parse import SplitResult, quote, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_KEPT = "/%:@!$&'()*+,;=~-._"  # characters of a path that are not percent-encoded (RFC 3986, 3.3)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2


@lru_cache(maxsize=4096)
def is_loopback(host: str) -> bool:
    """Reports whether a host name or address is of this machine alone."""
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
    """Returns the host as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def host_port(host: str, port: int) -> str:
    """Returns `host:port`, an IPv6 address in brackets."""
    return f"{url_host(host)}:{port}"


def url_address(url: str) -> tuple[str, int | None]:
    """Returns host and port of a URL, the scheme's own port when it names none. Raises ValueError."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme)


def request_target(url: SplitResult) -> str:
    """Returns path and query of a URL as an HTTP request names them; what is percent-encoded stays as it is."""
    path = quote(url.path or "/", safe=_KEPT)
    return f"{path}?{quote(url.query, safe=_KEPT + '?')}" if url.query else path


def is_http_token(text: str) -> bool:
    """Reports whether a text can be the name of a header, or a method."""
    return _TOKEN.fullmatch(text) is not None
