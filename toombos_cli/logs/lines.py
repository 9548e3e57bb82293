"""The contents of a log line: its time and level, whether it reports an error or a start; and its readable form.

Services in any language log here: JSON (Python, bunyan and pino, Serilog, ECS), logfmt, nginx, and plain text.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

from toombos_cli.base.untrusted import UntrustedError, decode_untrusted

_LEVEL_KEYS = ("level", "severity", "levelname", "lvl", "log.level", "@l")
_MESSAGE_KEYS = ("message", "msg", "@m", "event")
TIME_AND_LEVEL_KEYS = frozenset({*_LEVEL_KEYS, "time", "ts", "timestamp", "@timestamp", "@t", "asctime", "datetime"})
"""The names of time and level in JSON log lines."""
_WRONG = frozenset({"ERROR", "ERR", "CRITICAL", "CRIT", "FATAL", "PANIC", "ALERT", "EMERG", "EMERGENCY"})
_WRONG_NUMBER = 50
"""The numeric level of an error in bunyan and pino; fatal is 60."""
_ERROR = re.compile(
    r"(?<![\w/-])(ERROR|CRITICAL|FATAL)\b(?!-\w)|\bERR[!\]]|\bTraceback \(most recent|\b\w*(Exception|Error)\b:"
    r"|^[\w.]+(Exception|Error)$|^(?i:(fatal )?error|fatal|critical|panic):|panicked at |^Segmentation fault"
    r"|\b(?i:level|lvl|severity)=\"?(?i:error|err|critical|crit|fatal|panic|alert|emerg)\b"
    r"|\[(error|crit|alert|emerg)\]|\b(Uncaught|Unhandled) (exception|error|rejection)",
)
_LEVEL = re.compile(
    r"(?<![\w/-])(?:(?P<harmless>TRACE|DEBUG|INFO|NOTICE)|ERROR|CRITICAL|FATAL)\b(?!-\w)"
    r"|\b(?i:level|lvl|severity)=\"?(?i:(?P<named>trace|debug|info|notice)|error|err|critical|crit|fatal|panic)\b"
)
"""The first of these words in a line is its level; later ones are in its message."""
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x9b[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, links
    r"|\x1b[PX^_][^\x1b]*\x1b\\|\x1b[ -/]*[0-~]"
)
_STARTUP = re.compile(r"start(ing|ed|up)|\bready\b|listening|running on|shut(ting )?down|stopp(ed|ing)", re.IGNORECASE)
_TIMESTAMP = re.compile(
    r"(\d{4}([-/])\d\d\2\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d(?::?\d\d)?(?![\d:-])| [+-]\d{4}\b)?)"
    r"(?: ?([A-Z]{2,5})\b)?"
)
_OFFSETS_H = {
    "WET": 0, "BST": 1, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "IST": 5.5, "HKT": 8, "SGT": 8,
    "JST": 9, "KST": 9, "AEST": 10, "AEDT": 11, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6,
    "PST": -8, "PDT": -7,
}  # fmt: skip
"""The usual meaning of abbreviations, for a service whose own zone has no such name."""
_POSIX_ZONE = re.compile(r"(?:[A-Za-z]{3,}|<[^>]+>)([+-]?\d{1,2})(?::(\d\d))?")
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_NAMED_MONTH = re.compile(rf"\b(\d\d)[ /]({_MONTHS})[ /](\d{{4}})[ :](\d\d:\d\d:\d\d(?:\.\d+)?)(?: ([+-]\d{{4}}))?")
"""The format of Redis and access logs: `26 Nov 2026 10:00:00.250`, `26/Nov/2026:10:00:00 +0100`."""
_EPOCH = re.compile(r'"(?:time|ts|timestamp|@timestamp)":\s*(\d{10}(?:\.\d+)?|\d{13})\b')
_MILLISECONDS = 1e11
"""As seconds since the epoch, larger numbers would be after the year 5138, so they are milliseconds."""


def text_of(line: bytes) -> str:
    """Return a line as its reader sees it on a terminal, without colours and other escape sequences."""
    return shown_on_terminal(line.decode("utf-8", "replace"))


def shown_on_terminal(line: str) -> str:
    """Return what a terminal shows in the end: no escape sequences, and of a progress bar its last state.

    An overwritten state that reports an error stays.
    """
    while ("\x1b" in line or "\x9b" in line) and (without := _ESCAPES.sub("", line)) != line:
        line = without  # what is left may have become a sequence, and would join the parts of a secret later
    if "\r" in line:
        *earlier, line = [state for state in line.split("\r") if state] or [""]
        line = " ".join((*filter(is_error, earlier), line))
    if "\b" in line:
        line = _erased(line)
    return line


def _erased(line: str) -> str:
    """Return the line after its backspaces."""
    shown: list[str] = []
    for character in line:
        if character != "\b":
            shown.append(character)
        elif shown:
            shown.pop()
    return "".join(shown)


def is_error(line: str) -> bool:
    """Return whether the line reports an error, by its JSON level or the words of loggers and tracebacks."""
    level = level_of(entry_of(line))
    if level is not None:
        return level in _WRONG
    if _ERROR.search(line) is None:
        return False
    first = _LEVEL.search(line)
    return first is None or not (first["harmless"] or first["named"])


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


def is_wrong_level(level: str) -> bool:
    """Return whether a level, in capitals, is that of an error."""
    return level in _WRONG


def message_of(entry: Mapping[str, Any] | None) -> tuple[str, str] | None:
    """Return the key and the text of a JSON log entry's message, or None if it has none."""
    if entry is None:
        return None
    return next(((key, entry[key]) for key in _MESSAGE_KEYS if isinstance(entry.get(key), str)), None)


def is_startup(line: str) -> bool:
    """Return whether the line reports a start or a stop."""
    return bool(_STARTUP.search(line))


def timestamp_of(line: str, zone: tzinfo | None = None) -> datetime | None:
    """Return the first time in the line's first 200 characters, or None.

    Accepts ISO 8601, also with slashes or the month's name; without an offset it is in `zone`, by default local time,
    as loggers write it. In JSON, also seconds or milliseconds since the epoch.
    """
    text, abbreviation = _iso_8601(line)
    if text is None:
        epoch = _EPOCH.search(line, 0, 200) if line.startswith("{") else None
        return _of_epoch(float(epoch[1])) if epoch else None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment
        moment = moment.replace(tzinfo=zone) if zone else moment.astimezone()
        if abbreviation and moment.tzname() != abbreviation and abbreviation in _OFFSETS_H:
            moment = moment.replace(tzinfo=timezone(timedelta(hours=_OFFSETS_H[abbreviation])))
    except (ValueError, OverflowError):
        return None
    return moment


def zone_of(name: str) -> tzinfo | None:
    """Return the time zone that a value of TZ means, such as `Asia/Tokyo` or `JST-9`, or None if it is unknown."""
    if found := _POSIX_ZONE.fullmatch(name):
        hours, minutes = int(found[1]), int(found[2] or 0)
        return timezone(-timedelta(hours=hours, minutes=minutes if hours >= 0 else -minutes))
    from zoneinfo import ZoneInfo  # only for services with a zone of their own

    try:
        return ZoneInfo(name.removeprefix(":"))
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return None


def _iso_8601(line: str) -> tuple[str | None, str]:
    """Return the time as ISO 8601, and the abbreviation of its zone, if that stands after it."""
    if found := _TIMESTAMP.search(line, 0, 200):
        text, abbreviation = found[1].replace(",", ".").replace("/", "-"), found[3] or ""
        text = text[:11] + text[11:].replace(" ", "")
        if abbreviation in ("UTC", "GMT"):
            return f"{text.rstrip()}Z", ""
        return text, abbreviation
    if found := _NAMED_MONTH.search(line, 0, 200):
        day, month, year, clock, zone = found.groups()
        return f"{year}-{_MONTHS.index(month) // 4 + 1:02}-{day}T{clock}{zone or ''}", ""
    return None, ""


def _of_epoch(number: float) -> datetime:
    return datetime.fromtimestamp(number / 1000 if number > _MILLISECONDS else number, UTC)


def readable(line: str) -> str:
    """Return a line for display in an error: the level and message of a JSON line, any other line unchanged."""
    entry = entry_of(line)
    message = message_of(entry)
    return f"{level_of(entry) or ''} {message[1]}".strip() if message else line
