"""Build the bytes of requests, once, before the first is sent."""

import re
from collections.abc import Iterable, Iterator

from toombos_cli import __version__
from toombos_cli.base.addresses import host_port, is_http_token, url_host
from toombos_cli.base.errors import UsageError
from toombos_cli.load.plan import LoadRequest, LoadTarget

_PLAIN = frozenset({"host", "user-agent", "content-type", "content-length", "connection", "accept"})
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection"})


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


def build_endpoint(
    target: LoadTarget,
    *,
    name: str,
    method: str,
    path: str,
    headers: Iterable[tuple[str, str]] = (),
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
    fields = {
        "host": ("Host", url_host(target.host) if target.port == default_port else host_port(target.host, target.port)),
        # No Accept header: it means the same as */* (RFC 9110, section 12.5.1), and the server need not parse it.
        "user-agent": ("User-Agent", f"toombos/{__version__}"),
    }
    if body or method in ("POST", "PUT", "PATCH"):
        if content_type:
            fields["content-type"] = ("Content-Type", content_type)
        fields["content-length"] = ("Content-Length", str(len(body)))
    if not keepalive:
        fields["connection"] = ("Connection", "close")
    for given, value in headers:
        fields[given.lower()] = (given, value)
    try:
        lines = [f"{method} {path} HTTP/1.1".encode("ascii")]
        lines += [f"{field}: {value}".encode("latin-1") for field, value in fields.values()]
    except UnicodeEncodeError as error:
        raise UsageError(f"not a Latin-1 character in a header: {error.object[error.start]!r}", where="-H") from None
    return LoadRequest(
        name=name, method=method, path=path, request=b"\r\n".join(lines) + b"\r\n\r\n" + body, weight=weight
    )


def header_values(request: bytes) -> Iterator[tuple[str, str]]:
    """Yield (name, value) of the headers that may hold secrets; each value also without its scheme."""
    head = request.partition(b"\r\n\r\n")[0].decode("latin-1")
    for line in head.split("\r\n")[1:]:
        name, _, value = line.partition(": ")
        if name.lower() not in _PLAIN:
            yield name, value
            yield name, value.rpartition(" ")[2]
