"""What the history says among the lines of a log: all that happened since the oldest line shown."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from toombos_cli.logs.reading import LogLine, run_logs
from toombos_cli.logs.rotation import LogFile


def event(minute: int, kind: str) -> LogLine:
    moment = datetime(2026, 1, 1, 10, minute, tzinfo=UTC)
    return LogLine(service="crm", timestamp=moment, line=f"-- {minute}", event={"event": kind})


HISTORY = (event(1, "started"), event(2, "stopped"), event(3, "started"), event(4, "exited"), event(5, "restarted"))
LATER = tuple(event(minute, "restarted") for minute in range(6, 12))

ROWS = {
    "lines with times have what happened since the first of them": (
        "2026-01-01T10:02:30Z a\n2026-01-01T10:06:00Z b\n",
        HISTORY,
        [3, 4, 5],
    ),
    "lines without times have the present life's": ("a\nb\n", HISTORY, [3, 4, 5]),
    "a life of many events has its last five": ("a\n", HISTORY + LATER, [7, 8, 9, 10, 11]),
    "a history that lacks the start has its last": ("a\n", LATER[:2], [6, 7]),
    "no history": ("a\n", (), []),
}


@pytest.mark.parametrize(("text", "history", "shown"), ROWS.values(), ids=ROWS)
def test_events_among_the_lines(tmp_path: Path, text: str, history: tuple[LogLine, ...], shown: list[int]) -> None:
    log = tmp_path / "crm.log"
    log.write_text(text)
    lines = run_logs({"crm": LogFile(log, tmp_path / "record")}, count=3, events={"crm": history}).lines
    assert [line.line for line in lines if line.event] == [f"-- {minute}" for minute in shown]
