"""JSON lines on stdout: timestamp, level, logger, message, request_id and whatever `extra` adds. Secrets are masked."""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, BinaryIO

import msgspec

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_MASK = b"***"
_SECRET_MIN_CHARS = 6  # masking shorter ones would blot out innocent text
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON, without the line end."""

    def __init__(self, *, secrets: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._secrets = tuple(_escaped(secret) for secret in secrets if len(secret) >= _SECRET_MIN_CHARS)
        self._encode = msgspec.json.Encoder(enc_hook=str).encode

    def format_line(self, record: logging.LogRecord) -> bytes:
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
        }
        for name, value in record.__dict__.items():
            if name not in _STANDARD:
                line.setdefault(name, value)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            encoded = self._encode(line)
        except (ValueError, TypeError, OverflowError, RecursionError):  # lone surrogates, odd keys, huge integers
            encoded = json.dumps(line, default=str, skipkeys=True).encode()
        for secret in self._secrets:
            if secret in encoded:
                encoded = encoded.replace(secret, _MASK)
        return encoded

    def format(self, record: logging.LogRecord) -> str:
        return self.format_line(record).decode()


class LineHandler(logging.Handler):
    """Writes each record to a binary stream at once. When the stream's reader has gone, the service lives on."""

    def __init__(self, stream: BinaryIO, formatter: JsonFormatter) -> None:
        super().__init__()
        self._stream = stream
        self._line = formatter.format_line
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._stream.write(self._line(record) + b"\n")
            self._stream.flush()
        except (OSError, ValueError):  # broken pipe, full disk, closed stream
            return


def configure(level: str, *, secrets: tuple[str, ...] = ()) -> None:
    """Send every logger's records to stdout as JSON lines, from now on."""
    root = logging.getLogger()
    root.handlers[:] = [LineHandler(sys.stdout.buffer, JsonFormatter(secrets=secrets))]
    root.setLevel(level)
    # httpx and asyncio narrate every step at INFO or DEBUG: the request line says it already.
    for chatty in ("asyncio", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def _escaped(secret: str) -> bytes:
    return msgspec.json.encode(secret)[1:-1]
