"""The contents of a log line: its time and level, whether it reports an error or a start; and its readable form.

Services in any language log here: JSON (Python, bunyan and pino, Serilog, ECS), logfmt, nginx, and plain text.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from toombos_cli.base.untrusted import UntrustedError, decode_untrusted

_LEVEL_KEYS = ("level", "severity", "levelname", "lvl", "log.level", "@l")
_WRONG = frozenset({"ERROR", "ERR", "CRITICAL", "CRIT", "FATAL", "PANIC", "ALERT", "EMERG", "EMERGENCY"})
_WRONG_NUMBER = 50
"""The numeric level of an error in bunyan and pino; fatal is 60."""
_ERROR = re.compile(
    r"\b(ERROR|CRITICAL|FATAL)\b|\bERR[!\]]|\bTraceback \(most recent|\b\w*(Exception|Error)\b:"
    r"|^[\w.]+(Exception|Error)$|^(?i:(fatal )?error|fatal|critical|panic):|panicked at |^Segmentation fault"
    r"|\b(?i:level|lvl|severity)=\"?(?i:error|err|critical|crit|fatal|panic|alert|emerg)\b"
    r"|\[(error|crit|alert|emerg)\]|\b(Uncaught|Unhandled) (exception|error|rejection)",
)
_STARTUP = re.compile(r"start(ing|ed|up)|\bready\b|listening|running on|shut(ting )?down|stopp(ed|ing)", re.IGNORECASE)
_TIMESTAMP = re.compile(r"\d{4}([-/])\d\d\1\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z| ?UTC| ?GMT|[+-]\d\d:?\d\d)?")
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_NAMED_MONTH = re.compile(rf"\b(\d\d)[ /]({_MONTHS})[ /](\d{{4}})[ :](\d\d:\d\d:\d\d(?:\.\d+)?)(?: ([+-]\d{{4}}))?")
"""The format of Redis and access logs: `26 Nov 2026 10:00:00.250`, `26/Nov/2026:10:00:00 +0100`."""
_EPOCH = re.compile(r'"(?:time|ts|timestamp|@timestamp)":\s*(\d{10}(?:\.\d+)?|\d{13})\b')
_MILLISECONDS = 1e11
"""As seconds since the epoch, larger numbers would be after the year 5138, so they are milliseconds."""


def is_error(line: str) -> bool:
    """Return whether the line reports an error, by its JSON level or the words of loggers and tracebacks."""
    level = level_of(entry_of(line))
    return level in _WRONG if level is not None else bool(_ERROR.search(line))


def entry_of(line: str) -> dict[str, Any] | None:
    """Return the JSON object on the line, or None."""
    if not line.startswith("{"):
        return None
    try:
        entry: dict[str, Any] = decode_untrusted(line, as_python=True)
    except UntrustedError:
        return None
    return entry


def level_of(entry: Mapping[str, Any] | None) -> str | None:
    """Return the level of a JSON log entry in capitals, or None; a numeric level becomes ERROR or INFO."""
    if entry is None:
        return None
    level = next((entry[key] for key in _LEVEL_KEYS if key in entry), None)
    if isinstance(level, int | float) and not isinstance(level, bool):
        return "ERROR" if level >= _WRONG_NUMBER else "INFO"
    return level.upper() if isinstance(level, str) else None


def is_startup(line: str) -> bool:
    """Return whether the line reports a start or a stop."""
    return bool(_STARTUP.search(line))


def timestamp_of(line: str) -> datetime | None:
    """Return the first time in the line's first 200 characters, or None.

    Accepts ISO 8601, also with slashes or the month's name; without a zone it is local time, as loggers write it. In
    JSON, also seconds or milliseconds since the epoch.
    """
    text = _iso_8601(line)
    if text is None:
        epoch = _EPOCH.search(line, 0, 200) if line.startswith("{") else None
        return _of_epoch(float(epoch[1])) if epoch else None
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError):
        return None


def _iso_8601(line: str) -> str | None:
    if found := _TIMESTAMP.search(line, 0, 200):
        text = found[0].replace(",", ".").replace("/", "-")
        return f"{text[:-3].rstrip()}Z" if text.endswith(("UTC", "GMT")) else text
    if found := _NAMED_MONTH.search(line, 0, 200):
        day, month, year, clock, zone = found.groups()
        return f"{year}-{_MONTHS.index(month) // 4 + 1:02}-{day}T{clock}{zone or ''}"
    return None


def _of_epoch(number: float) -> datetime:
    return datetime.fromtimestamp(number / 1000 if number > _MILLISECONDS else number, UTC)


def readable(line: str) -> str:
    """Return a line for display in an error: the level and message of a JSON line, any other line unchanged."""
    entry = entry_of(line)
    if entry is not None and isinstance(entry.get("message"), str):
        return f"{entry.get('level', '')} {entry['message']}".strip()
    return line
