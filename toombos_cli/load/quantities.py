"""Durations and stages as people type them."""

import math
import re

from toombos_cli.errors import UsageError
from toombos_cli.load.pacer import Stage

UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
MOST_RPS = 1_000_000  # beyond what a client can send; the schedule itself would take longer than its time
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h)?")


def parse_duration(text: str, *, where: str) -> float:
    """Seconds of `90`, `500ms`, `30s`, `1.5m` or `1h`, above 0. Raises UsageError; `where` names the option."""
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * UNITS_S[match[2] or "s"] if match else 0.0
    if not 0 < seconds < math.inf:
        raise UsageError(f"{text!r} is no duration above 0", where=where, hint="for example 500ms, 30s, 1.5m or 1h")
    return seconds


def parse_stages(text: str) -> tuple[Stage, ...]:
    """Stages of `30s:50,1m:200`: in each, the rate goes linearly from that of the stage before (0 at first) to its own.

    Raises UsageError.
    """
    stages: list[Stage] = []
    for part in text.split(","):
        duration, colon, rate = part.partition(":")
        if not colon or not re.fullmatch(r"\s*\d+(\.\d+)?\s*", rate):
            raise UsageError(
                f"{part.strip()!r} is no stage", where="--stages", hint="DURATION:RATE, as in 30s:50,1m:200"
            )
        if float(rate) > MOST_RPS:
            raise UsageError(f"must be at most {MOST_RPS} a second, not {rate.strip()}", where="--stages")
        start = stages[-1].end_rps if stages else 0.0
        length = parse_duration(duration, where="--stages")
        stages.append(Stage(duration_s=length, start_rps=start, end_rps=float(rate)))
    if not any(stage.arrivals for stage in stages):
        raise UsageError("no stage has a rate above 0", where="--stages")
    return tuple(stages)
