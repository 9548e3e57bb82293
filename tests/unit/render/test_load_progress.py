"""The live view of a load test: every figure keeps its place, and the widths of terminals are respected."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.loading import at_rate, load_server, plan_for
from tests.support.runner import Toombos
from tests.support.terminal import Session
from toombos_cli.load.observer import Snapshot, summed
from toombos_cli.render.load_progress import live_view

PLAN = plan_for(1, **at_rate(100, 10))
EARLY = Snapshot(
    elapsed_s=0.5,
    warming_up=False,
    sent=5,
    ok=4,
    failed=0,
    inflight=1,
    rate_rps=8.0,
    recent={900: 3, 40_000: 1},
    responses={900: 3, 40_000: 1},
    failures={},
)
LATE = Snapshot(
    elapsed_s=9.5,
    warming_up=False,
    sent=1_234_567,
    ok=1_200_000,
    failed=34_000,
    inflight=567,
    rate_rps=129_954.3,
    recent={150: 800, 900: 3, 4_000_000: 700},
    responses={12: 1, 150: 1_000_000, 900: 3, 40_000: 1, 4_000_000: 7, 29_000_000: 1},
    failures={"500": 30_000, "timeout": 3_990, "reset": 5, "eof": 4, "refused": 1},
)
NOTHING = dataclasses.replace(EARLY, sent=0, ok=0, inflight=0, rate_rps=0.0, recent={}, responses={})
WARMING = dataclasses.replace(LATE, warming_up=True)
STATES = {"early": EARLY, "late": LATE, "nothing yet": NOTHING, "warming up": WARMING}


def lines(snapshot: Snapshot, width: int, height: int = 30, **options: Any) -> list[str]:
    return live_view(PLAN, snapshot, width=width, height=height, **options).plain.split("\n")


def ends(line: str) -> list[int]:
    """Return where each word of a line ends, not counting single spaces."""
    return [found.end() for found in re.finditer(r"\S+( \S+)*", line)]


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
@pytest.mark.parametrize("state", STATES)
def test_no_line_is_wider_than_the_terminal(state: str, width: int):
    assert max(map(len, lines(STATES[state], width)[:4])) <= width - 3
    if width >= 40:
        assert max(map(len, lines(STATES[state], width))) <= width - 3


HEADS = {
    40: ["rate/s", "ok", "failed"],
    80: ["rate/s", "ok", "failed", "in flight", "p50 ms", "p95 ms", "p99 ms"],
    120: ["rate/s", "sent", "ok", "failed", "in flight", "p50 ms", "p95 ms", "p99 ms", "max ms"],
}


@pytest.mark.parametrize("width", HEADS)
def test_every_figure_stays_below_its_head(width: int):
    for state in STATES.values():
        heads, figures = lines(state, width)[1:3]
        assert re.findall(r"\S+(?: \S+)*", heads) == HEADS[width]
        assert ends(heads) == ends(figures) == ends(lines(EARLY, width)[1])


def test_the_figures_are_those_of_the_last_second():
    assert lines(LATE, 120)[2].split() == [
        "129954",
        "1234567",
        "1200000",
        "34000",
        "567",
        "0.15",
        "4002",
        "4002",
        "4002",
    ]
    assert lines(NOTHING, 120)[2].split()[-4:] == ["-"] * 4


def test_the_kinds_of_failures_have_a_line_the_most_frequent_first():
    assert lines(LATE, 80)[3].split(maxsplit=1)[1] == "500: 30000  timeout: 3990  reset: 5  eof: 4  1 more kinds"
    assert lines(EARLY, 80)[3] == ""


@pytest.mark.parametrize("state", [EARLY, LATE], ids=["a narrow spread", "a spread of six decades"])
def test_the_histogram_counts_every_response_in_at_most_ten_bars(state: Snapshot):
    bars = lines(state, 80)[5:]
    assert 1 <= len(bars) <= 10
    assert sum(int(bar.split()[-1]) for bar in bars) == sum(state.responses.values())
    begins = [float(bar.split()[0]) * 1000 for bar in bars]
    assert begins == sorted(begins)
    assert begins[0] <= min(state.responses)
    assert len({len(bar) for bar in bars}) == 1


def test_a_low_terminal_has_no_histogram():
    assert len(lines(LATE, 80, height=10)) == 4


def test_a_terminal_without_block_characters_gets_ascii():
    assert "\n".join(lines(LATE, 80, blocks=False)).isascii()


def test_the_progress_of_several_processes_is_their_sum():
    both = summed([EARLY, LATE])
    assert (both.elapsed_s, both.sent, both.failed, both.inflight) == (9.5, 1_234_572, 34_000, 568)
    assert both.recent == {150: 800, 900: 6, 40_000: 1, 4_000_000: 700}
    assert both.failures == LATE.failures


def test_the_view_is_drawn_on_a_terminal_and_nothing_of_it_in_a_pipe(toombos: Toombos, project: Path):
    with load_server("fixed:1") as server:
        run = ("load", f"http://127.0.0.1:{server.port}/", "--rate", "100", "--duration", "1.5s")
        with Session(*run, cwd=project, width=80) as session:
            session.wait_for("p95 ms")
            assert session.wait() == 0
        piped = toombos(*run)
    assert "response time so far, ms" in session.text
    assert "\x1b" not in piped.stdout + piped.stderr
    assert "p95 ms" not in piped.stderr
