"""JSON lines on stdout: timestamp, level, logger, message, request_id and whatever `extra` adds. Secrets are masked."""

import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, BinaryIO

import msgspec

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_MASK = b"***"
_SECRET_MIN_CHARS = 6  # masking shorter ones would blot out innocent text
_OWN = frozenset({"timestamp", "level", "logger", "message", "request_id"})
_NOT_EXTRA = frozenset(logging.makeLogRecord({}).__dict__) | {"asctime", "taskName", "color_message"} | _OWN


class JsonLines:
    """A writer of objects as lines of JSON, unbuffered. The service continues if the stream's reader is gone."""

    def __init__(self, stream: BinaryIO, *, secrets: tuple[str, ...] = ()) -> None:
        self._stream = stream
        self._encode = msgspec.json.Encoder(enc_hook=str).encode
        long_enough = (secret for secret in secrets if len(secret) >= _SECRET_MIN_CHARS)
        self._secrets = tuple(self._encode(secret)[1:-1] for secret in long_enough)

    def write(self, level: str, logger: str, message: str, extra: Mapping[str, Any]) -> None:
        line = {
            "timestamp": datetime.now(UTC),
            "level": level,
            "logger": logger,
            "message": message,
            "request_id": request_id.get(),
            **extra,
        }
        try:
            encoded = self._encode(line)
        except (ValueError, TypeError, OverflowError, RecursionError):  # lone surrogates, odd keys, huge integers
            encoded = json.dumps(line, default=str, skipkeys=True).encode()
        for secret in self._secrets:
            if secret in encoded:
                encoded = encoded.replace(secret, _MASK)
        try:
            self._stream.write(encoded + b"\n")
            self._stream.flush()
        except (OSError, ValueError):  # broken pipe, full disk, closed stream
            return


class JsonHandler(logging.Handler):
    """The `logging` module's records as JSON lines."""

    def __init__(self, lines: JsonLines) -> None:
        super().__init__()
        self.lines = lines
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        extra = {name: value for name, value in record.__dict__.items() if name not in _NOT_EXTRA}
        if record.exc_info:
            extra["exception"] = self._formatter.formatException(record.exc_info)
        self.lines.write(record.levelname, record.name, record.getMessage(), extra)


_lines: JsonLines | None = None


def configure(level: str, *, secrets: tuple[str, ...] = ()) -> None:
    """Send every logger's records to stdout as JSON lines."""
    global _lines
    _lines = JsonLines(sys.stdout.buffer, secrets=secrets)
    root = logging.getLogger()
    root.handlers[:] = [JsonHandler(_lines)]
    root.setLevel(level)
    # httpx and asyncio log every step at INFO or DEBUG, which repeats the request line.
    for chatty in ("asyncio", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def write_request(level: int, message: str, extra: Mapping[str, Any]) -> None:
    """Write the line of one request, bypassing `logging`: a log record costs more than the rest of the request."""
    if _lines is not None and level >= logging.root.level:
        _lines.write(logging.getLevelName(level), "services.requests", message, extra)
