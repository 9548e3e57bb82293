"""One layer around every request: request id, host, body limit, unexpected errors, metrics, log line.

Pure ASGI and a single layer: every further layer slows down each request.
"""

import logging
import re
import secrets
from asyncio import CancelledError
from time import perf_counter

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.common import logs
from services.common.host_check import HostCheck
from services.common.metrics import UNMATCHED, ServiceMetrics

logger = logging.getLogger("services.requests")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_QUIET = frozenset({"/health", "/live", "/ready", "/metrics"})  # polled every few seconds, so logged at DEBUG


class RequestMiddleware:
    def __init__(self, app: ASGIApp, *, metrics: ServiceMetrics, max_body_bytes: int, hosts: HostCheck) -> None:
        self._app = app
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        status = 0  # none sent yet
        request_id, length = _read_headers(scope)
        logs.request_id.set(request_id)
        id_header = (b"x-request-id", request_id.encode())

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], id_header]
            await send(message)

        try:
            wrong_host = self._hosts.problem(scope["headers"], scope["http_version"])
            if wrong_host is not None:
                await _error(400, wrong_host)(scope, receive, send_with_id)
                return
            if length is not None and length > self._max_body_bytes:
                answer = _error(413, self._too_large())
                await answer(scope, receive, send_with_id)
                return
            await self._app(scope, receive if length is not None else self._limited(receive), send_with_id)
        except CancelledError:  # swallowed: this is the task's outermost frame, and uvicorn would log a traceback
            logger.warning("%s %s cut off because the service is stopping", scope["method"], scope["path"])
        except Exception:
            logger.exception("unexpected error in %s %s", scope["method"], scope["path"])
            if status:
                raise  # the response has started: only a broken connection can signal the error
            await _error(500, "Internal server error; see the log entry with this X-Request-ID")(
                scope, receive, send_with_id
            )
        finally:
            self._record(scope, status, perf_counter() - started)

    def _record(self, scope: Scope, status: int, duration_s: float) -> None:
        route = scope.get("route")
        path: str = UNMATCHED if route is None else route.path
        self._metrics.count_request(scope["method"], path, status, duration_s)
        level = logging.DEBUG if path in _QUIET else logging.ERROR if status >= 500 else logging.INFO
        method, real_path = scope["method"], scope["path"]  # without the query, which may hold a key
        extra = {"method": method, "path": real_path, "status": status, "duration_ms": round(duration_s * 1000, 3)}
        logs.write_request(level, f"{method} {real_path} {status}", extra)

    def _limited(self, receive: Receive) -> Receive:
        """Wrap `receive` to limit bodies of unannounced length (chunked)."""
        received_bytes = 0

        async def receive_limited() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > self._max_body_bytes:
                raise HTTPException(413, self._too_large())
            return message

        return receive_limited

    def _too_large(self) -> str:
        return f"The body is larger than {self._max_body_bytes} bytes"


def _read_headers(scope: Scope) -> tuple[str, int | None]:
    """Return the request id (the client's, if it is valid) and the body's length (None if it is not announced)."""
    request_id: bytes | None = None
    length: int | None = 0
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            request_id = value
        elif name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            length = None
    if request_id is not None and _REQUEST_ID.fullmatch(request_id):
        return request_id.decode(), length
    return secrets.token_hex(16), length


def _error(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status_code=status)
