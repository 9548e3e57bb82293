"""One HTTP request under one overall deadline, on h11: the protocol engine below httpx.

Not httpx itself: its time limits are those of single reads, so a server that sends a byte a second holds a probe for
ever, and its import would be a third of `toombos health` (docs/decisions/0006).
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from socket import socket
from time import monotonic
from urllib.parse import quote, urlsplit

import h11

from toombos_cli import __version__
from toombos_cli.probes.connection import Connected, Deadline, ProbeError, connect, failure
from toombos_cli.probes.result import ProbeResult, Reason, printable

_READ_BYTES = 65536
_MAX_HEAD_BYTES = 65536
_PORTS = {"http": 80, "https": 443}
_KEPT = "/%:@!$&'()*+,;=~-._"  # characters of a path that are not percent-encoded (RFC 3986, 3.3)


def probe_http(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    timeout_s: float = 2.0,
    slow_after_ms: float | None = None,
    max_body_bytes: int = 65536,
) -> ProbeResult:
    """The answer to one request, or the reason why there is none, after at most `timeout_s` in all.

    Proxies of the environment are ignored and redirects are not followed. At most `max_body_bytes` of the body are
    read. A right answer later than `slow_after_ms` has the reason slow. Raises ValueError for a URL or a header that
    cannot be sent, OperationError when this machine has no socket to spare.
    """
    target = _Target.of(url)
    deadline, started = Deadline(timeout_s), monotonic()
    connected: Connected | None = None
    answer = _Answer(max_body_bytes)
    try:
        request = _request(target, method, headers or {}, body)
        connected = connect(target.host, target.port, deadline)
        with connected.sock:
            _exchange(connected, target, request, body, deadline, answer)
    except ProbeError as error:
        reason, detail = error.reason, error.detail
    except TimeoutError:
        reason, detail = Reason.TIMEOUT, _timeout_detail(timeout_s, answer)
    except OSError as error:
        problem = failure(error, "connection")
        reason, detail = problem.reason, problem.detail
    else:
        reason, detail = _judge(answer, (monotonic() - started) * 1000, slow_after_ms)
    return ProbeResult(
        url=url,
        reason=reason,
        detail=detail,
        http_status=answer.status,
        latency_ms=(monotonic() - started) * 1000 if answer.complete else None,
        headers=answer.headers,
        body=bytes(answer.body),
        truncated=answer.truncated,
        address=connected.address if connected else None,
        family=connected.family if connected else None,
    )


@dataclass(frozen=True, slots=True)
class _Target:
    """A URL in the parts that a request needs; `authority` is the Host header."""

    scheme: str
    host: str
    port: int
    authority: str
    path: str

    @classmethod
    def of(cls, url: str) -> "_Target":
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"not an http or https URL: {printable(url)}")
        path = quote(parts.path or "/", safe=_KEPT)
        query = "?" + quote(parts.query, safe=_KEPT + "?") if parts.query else ""
        authority = parts.netloc.rpartition("@")[2]
        return cls(parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme], authority, path + query)


@dataclass(slots=True)
class _Answer:
    """What has arrived so far; kept when the probe ends early."""

    max_body_bytes: int
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytearray = field(default_factory=bytearray)
    truncated: bool = False
    complete: bool = False
    received_bytes: int = 0
    first_bytes: bytes = b""


def _request(target: _Target, method: str, headers: Mapping[str, str], body: bytes) -> h11.Request:
    own = {"host": target.authority, "user-agent": f"toombos/{__version__}", "accept": "*/*", "connection": "close"}
    if body or method in ("POST", "PUT", "PATCH"):
        own["content-length"] = str(len(body))
    try:
        merged = own | {name.lower(): value for name, value in headers.items()}
        return h11.Request(method=method, target=target.path, headers=list(merged.items()))
    except h11.LocalProtocolError as error:
        raise ValueError(f"cannot be sent as HTTP: {error}") from None


def _exchange(
    connected: Connected, target: _Target, request: h11.Request, body: bytes, deadline: Deadline, answer: _Answer
) -> None:
    """Sends the request and fills `answer`. Raises ProbeError, TimeoutError and other OSErrors."""
    sock = connected.sock
    sock.settimeout(deadline.remaining_s())
    if target.scheme == "https":
        from toombos_cli.probes import tls

        sock = tls.wrap(sock, target.host, connected.address)
    with sock:
        engine = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
        parts = [engine.send(request), engine.send(h11.Data(data=body)), engine.send(h11.EndOfMessage())]
        with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before it hung up
            sock.sendall(b"".join(part for part in parts if part))
        try:
            _receive(engine, sock, deadline, answer)
        except ConnectionError:
            raise _hung_up(answer, target, deadline, "reset") from None
        except h11.RemoteProtocolError as error:
            if engine.trailing_data[1]:  # the end of the stream, where h11 wanted more
                raise _hung_up(answer, target, deadline, "closed") from None
            raise _not_http(answer, error) from None


def _receive(engine: h11.Connection, sock: socket, deadline: Deadline, answer: _Answer) -> None:
    while True:
        event = engine.next_event()
        if event is h11.NEED_DATA:
            sock.settimeout(deadline.remaining_s())
            data = sock.recv(_READ_BYTES)
            answer.received_bytes += len(data)
            answer.first_bytes = answer.first_bytes or data[:2]
            engine.receive_data(data)
        elif isinstance(event, h11.Response):
            answer.status = event.status_code
            answer.headers = tuple((k.decode("ascii"), v.decode("latin-1")) for k, v in event.headers)
        elif isinstance(event, h11.Data):
            room = answer.max_body_bytes - len(answer.body)
            answer.body += event.data[:room]
            if len(event.data) > room:
                answer.truncated = answer.complete = True
                return
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            answer.complete = True
            return


def _judge(answer: _Answer, latency_ms: float, slow_after_ms: float | None) -> tuple[Reason, str]:
    status = answer.status or 0
    if not 200 <= status < 300:
        location = next((value for name, value in answer.headers if name == "location"), None)
        to = f", redirects to {location}" if location else ""
        return Reason.STATUS, printable(f"HTTP {status}{to}")
    if slow_after_ms is not None and latency_ms > slow_after_ms:
        return Reason.SLOW, f"answered after {latency_ms:.0f} ms, more than {slow_after_ms:.0f} ms"
    return Reason.OK, ""


def _timeout_detail(timeout_s: float, answer: _Answer) -> str:
    if answer.received_bytes:
        return f"the answer was not complete within {timeout_s:g} s ({answer.received_bytes} bytes came)"
    return f"connected, and no answer within {timeout_s:g} s"


def _hung_up(answer: _Answer, target: _Target, deadline: Deadline, how: str) -> ProbeError:
    if answer.received_bytes:
        return ProbeError(Reason.RESET, f"the connection was {how} after {answer.received_bytes} bytes of the answer")
    if target.scheme == "http":
        from toombos_cli.probes import tls

        if tls.speaks_tls(target.host, target.port, deadline):
            return _tls_on_plain()
    return ProbeError(Reason.RESET, f"the connection was {how} without an answer")


def _not_http(answer: _Answer, error: h11.RemoteProtocolError) -> ProbeError:
    if answer.first_bytes in (b"\x15\x03", b"\x16\x03"):  # a TLS record: alert or handshake, RFC 8446, 5.1
        return _tls_on_plain()
    return ProbeError(Reason.BODY, printable(f"the answer is not valid HTTP: {error}"))


def _tls_on_plain() -> ProbeError:
    return ProbeError(Reason.TLS, "the port speaks TLS, and the URL says http")
