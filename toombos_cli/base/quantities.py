"""Durations as people type them."""

import math
import re

from toombos_cli.base.errors import UsageError

UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h)?")


def parse_duration(text: str, *, where: str) -> float:
    """Seconds of `90`, `500ms`, `30s`, `1.5m` or `1h`, above 0. Raises UsageError; `where` names the option."""
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * UNITS_S[match[2] or "s"] if match else 0.0
    if not 0 < seconds < math.inf:
        raise UsageError(f"{text!r} is no duration above 0", where=where, hint="for example 500ms, 30s, 1.5m or 1h")
    return seconds
