"""What a log line tells: time, level, whether it speaks of an error or of starting; and how a person reads it."""

import json
import re
from datetime import UTC, datetime

_ERROR = re.compile(r"\b(ERROR|CRITICAL|FATAL)\b|\bTraceback \(most recent|\b\w*(Exception|Error)\b:")
_STARTUP = re.compile(r"start(ing|ed|up)|\bready\b|listening|running on|shut(ting )?down|stopp(ed|ing)", re.IGNORECASE)
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?")


def is_error(line: str) -> bool:
    """Whether the line tells of an error: by its JSON level, or by the words that loggers and tracebacks use."""
    if line.startswith("{"):
        try:
            level = json.loads(line).get("level")
        except (ValueError, AttributeError, RecursionError):
            level = None
        if isinstance(level, str):
            return level.upper() in ("ERROR", "CRITICAL", "FATAL")
    return bool(_ERROR.search(line))


def is_startup(line: str) -> bool:
    """Whether the line tells of starting or stopping."""
    return bool(_STARTUP.search(line))


def timestamp_of(line: str) -> datetime | None:
    """The first ISO 8601 time in the line's first 200 characters, UTC where it names no zone; None without one."""
    found = _TIMESTAMP.search(line, 0, 200)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(found[0].replace(",", "."))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def readable(line: str) -> str:
    """A line as a person reads it in an error: of a JSON log line its level and message, every other one as it is."""
    if line.startswith("{"):
        try:
            entry = json.loads(line)
        except ValueError:
            return printable(line)
        if isinstance(entry, dict) and isinstance(entry.get("message"), str):
            return printable(f"{entry.get('level', '')} {entry['message']}".strip())
    return printable(line)


def printable(line: str) -> str:
    """The line without control characters but tabs: a log must not drive the terminal that shows it."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in line)
