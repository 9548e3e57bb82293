"""One HTTP request under one overall deadline, through httpx (docs/decisions/0030)."""

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING

from toombos_cli.base.text import one_line, seconds
from toombos_cli.probes.charset import decoded
from toombos_cli.probes.connection import Deadline, ProbeError, does_not_resolve, failure
from toombos_cli.probes.endpoint import DIRECT, Endpoint
from toombos_cli.probes.request import RequestTarget, request_headers
from toombos_cli.probes.result import Cause, ProbeResult, Reason

if TYPE_CHECKING:
    import httpx

    from toombos_cli.probes.received import Received
    from toombos_cli.probes.transport import ProbeTransport

_MOST_REDIRECTS = 20
_TITLE = re.compile(r"<title>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_EXCERPT_CHARACTERS = 80
_READ_CHARACTERS = 4096


def probe_http(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    timeout_s: float = 2.0,
    slow_after_ms: float | None = None,
    max_body_bytes: int = 65536,
    endpoint: Endpoint = DIRECT,
    cookies: "httpx.Cookies | None" = None,
    may_follow: Callable[[str], bool] | None = None,
) -> ProbeResult:
    """Return the response to one request, or the reason why there is none, after at most `timeout_s` in all.

    Proxies from the environment are ignored. `cookies` are sent and updated. A redirect is followed if `may_follow`
    accepts its absolute URL, by default never; the endpoint is that of the first URL's origin alone. A Host header
    names the same server: cookies are kept for that host, and redirects to it lead to the first URL's origin. At most
    `max_body_bytes` of the decoded body are read. A good response later than `slow_after_ms` has the reason slow.
    Raise ValueError for a URL or a header that cannot be sent, OperationError if this machine has no socket left.
    """
    target = RequestTarget.of(url)
    sent = request_headers(target, method, headers or {}, body)
    from toombos_cli.probes.lean_httpx import httpx  # only now: no command that probes nothing waits for its import
    from toombos_cli.probes.transport import ProbeTransport

    deadline, started = Deadline(timeout_s), monotonic()
    cause: Cause | None = None
    exchange = ProbeTransport(endpoint, deadline, max_body_bytes=max_body_bytes)
    try:
        exchange.place = _url(target)
        exchange.named = _named(exchange.place, dict(sent)[b"host"].decode("latin-1"))
        request = httpx.Request(
            method,
            exchange.named,
            headers=sent,
            cookies=None if cookies is None else cookies.jar,  # the jar, because a copy would lose its policy
            content=body,
            extensions={"target": target.path.encode("ascii")},  # httpx would remove `..` from the path
        )
        _send(request, exchange, cookies, may_follow)
    except ProbeError as error:
        reason, cause, detail = error.reason, error.cause, error.detail
    except TimeoutError:
        reason, detail = Reason.TIMEOUT, _timeout_detail(timeout_s, exchange.received)
    except OSError as error:
        problem = _hung_up(exchange, error) if isinstance(error, ConnectionError) else failure(error, "connection")
        reason, cause, detail = problem.reason, problem.cause, problem.detail
    else:
        reason, cause, detail = _judge(exchange.received, (monotonic() - started) * 1000, slow_after_ms)
    received, connected = exchange.received, exchange.network.connected
    return ProbeResult(
        url=str(exchange.urls[-1]) if len(exchange.urls) > 1 else url,
        reason=reason,
        cause=cause,
        detail=detail,
        http_status=received.status,
        latency_ms=(monotonic() - started) * 1000 if received.complete else None,
        headers=received.headers,
        body=bytes(received.body),
        truncated=received.truncated,
        address=connected.address if connected else None,
        family=connected.family if connected else None,
        peer_pid=connected.peer_pid if connected else None,
        http_version=received.http_version,
    )


def _url(target: RequestTarget) -> "httpx.URL":
    """Return the URL for httpx. Raise ProbeError for a host that it refuses, which no lookup would find either."""
    from toombos_cli.probes.lean_httpx import httpx

    try:
        origin = httpx.URL(scheme=target.scheme, host=target.host, port=target.port)
    except httpx.InvalidURL:
        raise does_not_resolve(target.host, "not a valid host name") from None
    try:
        return origin.copy_with(raw_path=target.path.encode("ascii"))
    except httpx.InvalidURL as error:
        raise ValueError(f"not a URL that can be requested: {error}") from None


def _named(url: "httpx.URL", host: str) -> "httpx.URL":
    """Return the URL with the host and port of a Host header, or the URL itself if that is not an authority."""
    from toombos_cli.probes.lean_httpx import httpx

    try:
        authority = httpx.URL(f"{url.scheme}://{host}")
        return url.copy_with(host=authority.host, port=authority.port) if authority.host else url
    except httpx.InvalidURL:
        return url


def _send(
    request: "httpx.Request",
    exchange: "ProbeTransport",
    cookies: "httpx.Cookies | None",
    may_follow: Callable[[str], bool] | None,
) -> None:
    """Send the request and those that it is redirected to, as far as they may be followed. Raise as the transport."""
    from toombos_cli.probes.lean_httpx import httpx

    jar = None if cookies is None else cookies.jar  # a client copies Cookies, but not a jar
    with httpx.Client(transport=exchange, trust_env=False, cookies=jar) as client:
        for _ in range(_MOST_REDIRECTS + 1):
            try:
                following = client.send(request, stream=True).next_request
            except (httpx.RemoteProtocolError, httpx.InvalidURL):  # its Location is not a URL
                return
            if following is None or may_follow is None or following.url.scheme not in ("http", "https"):
                return
            if not may_follow(str(exchange.place_of(following.url))):
                return
            following.extensions.pop("target", None)
            request = following
    raise ProbeError(Reason.STATUS, f"it redirects more than {_MOST_REDIRECTS} times")


def _judge(received: "Received", latency_ms: float, slow_after_ms: float | None) -> tuple[Reason, Cause | None, str]:
    status = received.status or 0
    if not 200 <= status < 300:
        return Reason.STATUS, None, one_line(f"HTTP {status}{_said(received, status)}")
    if received.unreadable:
        return Reason.BODY, Cause.UNREADABLE, one_line(received.unreadable)
    if slow_after_ms is not None and latency_ms > slow_after_ms:
        return Reason.SLOW, None, f"responded after {latency_ms:.0f} ms, more than {slow_after_ms:.0f} ms"
    return Reason.OK, None, ""


def _said(received: "Received", status: int) -> str:
    """Return what a response that is not 2xx says to a person beyond its status: its target, title or first line."""
    if location := received.header("location"):
        return f", redirects to {location}"
    media_type = received.header("content-type") or ""
    text = decoded(bytes(received.body[:_READ_CHARACTERS]), media_type)
    if media_type.startswith("text/html"):
        title = _TITLE.search(text)
        said = title[1] if title else ""
    else:
        said = text.strip().partition("\n")[0] if media_type.startswith("text/plain") else ""
    said = one_line(said, limit=_EXCERPT_CHARACTERS).removeprefix(str(status)).strip(" :-")
    phrase = HTTPStatus(status).phrase if status in HTTPStatus.__members__.values() else ""
    return f": {said}" if said and said.lower() != phrase.lower() else ""


def _timeout_detail(timeout_s: float, received: "Received") -> str:
    if received.received_bytes:
        return f"the response was not complete within {seconds(timeout_s)} ({received.received_bytes} bytes received)"
    return f"connected, but no response within {seconds(timeout_s)}"


def _hung_up(exchange: "ProbeTransport", error: ConnectionError) -> ProbeError:
    """Return the reason why the server closed or reset the connection before its response was complete."""
    from toombos_cli.probes import tls

    received, network = exchange.received, exchange.network
    how = "reset" if isinstance(error, ConnectionResetError) else "closed"
    if received.received_bytes:
        detail = f"the connection was {how} after {received.received_bytes} bytes of the response"
        return ProbeError(Reason.RESET, detail)
    scheme, host = exchange.urls[-1].scheme, exchange.urls[-1].host
    if scheme == "http" and tls.speaks_tls(network.reconnect, host, network.deadline):
        return tls.on_plain_url()
    if scheme == "https" and tls.speaks_http(network.reconnect, network.deadline):
        return tls.does_not_speak_tls()
    return ProbeError(Reason.RESET, f"the connection was {how} without a response")
