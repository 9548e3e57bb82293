"""What an HTTP request consists of, checked before anything is sent."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from toombos_cli import __version__
from toombos_cli.base.addresses import is_http_token, request_target
from toombos_cli.base.text import one_line
from toombos_cli.probes.content_coding import ACCEPTED

_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110, 5.5


class RequestTarget(msgspec.Struct, frozen=True):
    """The parts of a URL that a request needs; `authority` is the Host header, `path` what is sent, with the query."""

    scheme: str
    host: str
    port: int
    authority: str
    path: str

    @classmethod
    def of(cls, url: str) -> "RequestTarget":
        """Return the parsed URL. Raise ValueError if it is not an http or https URL."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http or https URL: {one_line(url)}")
        authority = parts.netloc.rpartition("@")[2]
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(parts.scheme, parts.hostname, port, authority, request_target(parts))


def request_headers(
    target: RequestTarget, method: str, headers: Mapping[str, str], body: bytes
) -> list[tuple[bytes, bytes]]:
    """Return all headers; `headers` replace the defaults. Raise ValueError for a method or header that is not valid."""
    if not is_http_token(method):
        raise ValueError(f"the method {one_line(method)!r} cannot be sent")
    own = {
        "host": target.authority,
        "user-agent": f"toombos/{__version__}",
        "accept": "*/*",
        "accept-encoding": ACCEPTED,
        "connection": "close",
    }
    if body or method in ("POST", "PUT", "PATCH"):
        own["content-length"] = str(len(body))
    found = own | {name.lower(): value for name, value in headers.items()}
    for name, value in found.items():
        if not is_http_token(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"the header {one_line(name)!r} cannot be sent")
    return [(name.encode("ascii"), value.strip().encode("latin-1")) for name, value in found.items()]
