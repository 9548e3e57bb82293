"""One HTTP request under one overall deadline.

Not through httpx: its timeouts apply to single reads, so a server that sends a byte a second holds a probe for
ever, and its import would take a third of the time of `toombos health` (docs/decisions/0006).
"""

import socket
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic

from toombos_cli.base.text import one_line
from toombos_cli.probes.connection import Connected, Deadline, ProbeError, connect, failure
from toombos_cli.probes.endpoint import DIRECT, Endpoint
from toombos_cli.probes.message import NotHttpError, PartialResponse, RequestTarget, request_bytes
from toombos_cli.probes.result import Cause, ProbeResult, Reason

_READ_BYTES = 65536


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
) -> ProbeResult:
    """Return the response to one request, or the reason why there is none, after at most `timeout_s` in all.

    Proxies from the environment are ignored and redirects are not followed. At most `max_body_bytes` of the body are
    read. A good response later than `slow_after_ms` has the reason slow. Raise ValueError for a URL or a header that
    cannot be sent, OperationError if this machine has no socket left.
    """
    target = RequestTarget.of(url)
    request = request_bytes(target, method, headers or {}, body)
    answer = PartialResponse(method, max_body_bytes)
    deadline, started = Deadline(timeout_s), monotonic()
    connected: Connected | None = None
    cause: Cause | None = None
    try:
        connected = connect(target.host, target.port, deadline)
        _exchange(connected, target, request, deadline, answer)
    except ProbeError as error:
        reason, cause, detail = error.reason, error.cause, error.detail
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
        cause=cause,
        detail=detail,
        http_status=answer.status,
        latency_ms=(monotonic() - started) * 1000 if answer.complete else None,
        headers=tuple(answer.headers),
        body=bytes(answer.body),
        truncated=answer.truncated,
        address=connected.address if connected else None,
        family=connected.family if connected else None,
    )


def _exchange(
    connected: Connected, target: RequestTarget, request: bytes, deadline: Deadline, answer: PartialResponse
) -> None:
    """Send the request and fill `answer`. Raise ProbeError, TimeoutError and other OSErrors."""
    with connected.sock as sock:
        sock.settimeout(deadline.remaining_s())
        how = "closed"
        try:
            if target.scheme == "https":
                from toombos_cli.probes import tls

                sock = tls.wrap(sock, target.host, connected.address)
            with sock:
                _converse(sock, request, deadline, answer)
        except ConnectionError as error:
            how = "reset" if isinstance(error, ConnectionResetError) else "closed"
        except NotHttpError as error:
            raise _not_http(answer, error) from None
    if not answer.complete:
        raise _hung_up(answer, target, deadline, how)


def _converse(sock: socket.socket, request: bytes, deadline: Deadline, answer: PartialResponse) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # the server may have responded before it hung up
        sock.sendall(request)
    while not answer.complete:
        sock.settimeout(deadline.remaining_s())
        data = sock.recv(_READ_BYTES)
        answer.feed(data)
        if not data:
            break


def _judge(answer: PartialResponse, latency_ms: float, slow_after_ms: float | None) -> tuple[Reason, str]:
    status = answer.status or 0
    if not 200 <= status < 300:
        location = answer.header("location")
        return Reason.STATUS, one_line(f"HTTP {status}" + (f", redirects to {location}" if location else ""))
    if slow_after_ms is not None and latency_ms > slow_after_ms:
        return Reason.SLOW, f"responded after {latency_ms:.0f} ms, more than {slow_after_ms:.0f} ms"
    return Reason.OK, ""


def _timeout_detail(timeout_s: float, answer: PartialResponse) -> str:
    if answer.received_bytes:
        return f"the response was not complete within {timeout_s:g} s ({answer.received_bytes} bytes received)"
    return f"connected, but no response within {timeout_s:g} s"


def _hung_up(answer: PartialResponse, target: RequestTarget, deadline: Deadline, how: str) -> ProbeError:
    if answer.received_bytes:
        return ProbeError(Reason.RESET, f"the connection was {how} after {answer.received_bytes} bytes of the response")
    from toombos_cli.probes import tls

    if target.scheme == "http" and tls.speaks_tls(target.host, target.port, deadline):
        return _tls_on_plain()
    if target.scheme == "https" and tls.speaks_http(target.host, target.port, deadline):
        return tls.does_not_speak_tls()
    return ProbeError(Reason.RESET, f"the connection was {how} without a response")


def _not_http(answer: PartialResponse, error: NotHttpError) -> ProbeError:
    if answer.first_bytes[:1] in (b"\x15", b"\x16"):  # a TLS record: alert or handshake (RFC 8446, 5.1)
        return _tls_on_plain()
    return ProbeError(Reason.BODY, one_line(f"the response is not valid HTTP: {error}"), cause=Cause.NOT_HTTP)


def _tls_on_plain() -> ProbeError:
    return ProbeError(Reason.TLS, "the port speaks TLS, but the URL says http")
