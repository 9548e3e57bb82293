"""Stages of a ramp as people type them."""

import re

from toombos_cli.base.errors import UsageError
from toombos_cli.base.text import parse_duration
from toombos_cli.load.engine.pacer import Stage

MOST_RPS = 1_000_000  # beyond what a client can send; the schedule itself would take longer than its time


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
