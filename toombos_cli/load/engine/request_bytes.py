"""Build the bytes of requests, once, before the first is sent."""

import os
import re
from collections.abc import Iterable, Iterator

from toombos_cli import __version__
from toombos_cli.base.addresses import host_port, is_http_token, url_host
from toombos_cli.base.errors import UsageError
from toombos_cli.load.plan import LoadRequest, LoadTarget

_PLAIN = frozenset({"host", "user-agent", "content-type", "content-length", "connection", "accept"})
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection"})
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(rf'{_NAME}/{_NAME}(\s*;\s*({_NAME}=({_NAME}|"[^"\r\n\0]*"))?)*\s*')  # RFC 9110, 8.3.1

Headers = tuple[tuple[str, str], ...]


def parse_header(text: str) -> tuple[str, str]:
    """Split `Name: value` into (name, value). Raise UsageError."""
    name, colon, value = text.partition(":")
    if not colon or not is_http_token(name.strip()):
        raise UsageError(f"not a header: {name.strip()!r}", where="-H", hint="write -H 'Name: value'")
    if re.search(r"[\r\n\0]", value):
        raise UsageError(f"the value of {name.strip()} contains a line break or NUL", where="-H")
    if name.strip().lower() in _FRAMING:
        raise UsageError(f"{name.strip()} is set from the body and --no-keepalive", where="-H")
    return name.strip(), value.strip()


def parse_headers(pairs: Iterable[tuple[str, str]]) -> Headers:
    """Return the headers of a table. Raise UsageError."""
    return tuple(parse_header(f"{name}: {value}") for name, value in pairs)


def layered(below: Headers, above: Headers) -> Headers:
    """Return the headers of both layers; those above replace the ones below that have the same name."""
    replaced = {name.lower() for name, _ in above}
    return (*(header for header in below if header[0].lower() not in replaced), *above)


def check_media_type(text: str) -> str:
    """Return a content type as given. Raise UsageError if it is not one."""
    if not _MEDIA_TYPE.fullmatch(text):
        raise UsageError(f"not a content type: {text!r}", where="-T", hint="write TYPE/SUBTYPE: application/json")
    return text


def build_endpoint(
    target: LoadTarget,
    *,
    name: str,
    method: str,
    path: str,
    headers: Headers = (),
    body: bytes = b"",
    content_type: str | None = None,
    keepalive: bool = True,
    weight: float = 1.0,
) -> LoadRequest:
    """Return the endpoint with its request. Given headers replace the default ones. Raise UsageError."""
    if not is_http_token(method):
        raise UsageError(
            f"not an HTTP method: {method!r}", where="-m", hint="use GET, HEAD, POST, PUT, PATCH or DELETE"
        )
    default_port = 443 if target.scheme == "https" else 80
    host = url_host(target.host) if target.port in (default_port, 0) else host_port(target.host, target.port)
    # No Accept header: it means the same as */* (RFC 9110, section 12.5.1), and the server need not parse it.
    own = [("Host", host), ("User-Agent", f"toombos/{__version__}")]
    if body or method in ("POST", "PUT", "PATCH"):
        if content_type is not None:
            own.append(("Content-Type", check_media_type(content_type)))
        own.append(("Content-Length", str(len(body))))
    if not keepalive:
        own.append(("Connection", "close"))
    lines = [f"{method} {path} HTTP/1.1"] + [f"{field}: {value}" for field, value in layered(tuple(own), headers)]
    head = os.fsencode("\r\n".join(lines))  # bytes that were typed are sent as they are
    return LoadRequest(name=name, method=method, path=path, request=head + b"\r\n\r\n" + body, weight=weight)


def header_values(request: bytes) -> Iterator[tuple[str, str]]:
    """Yield (name, value) of the headers that may hold secrets; each value also without its scheme."""
    head = os.fsdecode(request.partition(b"\r\n\r\n")[0])
    for line in head.split("\r\n")[1:]:
        name, _, value = line.partition(": ")
        if name.lower() not in _PLAIN:
            yield name, value
            yield name, value.rpartition(" ")[2]
