"""The live view of a load test on stderr; nothing if stderr is not a terminal.

Every figure has its own column, which keeps its place and width during a run.
"""

from bisect import bisect_right
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from toombos_cli.load.engine import histogram
from toombos_cli.load.engine.histogram import Buckets
from toombos_cli.load.observer import Snapshot
from toombos_cli.load.plan import LoadPlan
from toombos_cli.render.text.load import milliseconds

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

_COLUMN = 11
_FIGURES = {
    "rate/s": 1,
    "sent": 8,
    "ok": 2,
    "failed": 3,
    "in flight": 7,
    "p50 ms": 4,
    "p95 ms": 6,
    "p99 ms": 5,
    "max ms": 9,
}
"""The figures from left to right, each with its rank: a narrow terminal has only the first ones."""
_MOST_BARS = 10
_LADDERS = ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1,))
"""The steps of a decade at which bars begin, the finest first."""
_ERRORS_SHOWN = 4


class LoadProgress:
    """Context manager around a run. Draws on each snapshot, not in a thread, which would disturb the run.

    `before` is what it says until the first snapshot.
    """

    def __init__(self, plan: LoadPlan, console: "Console", *, quiet: bool = False, before: str = "connecting") -> None:
        self._before = before
        self.wanted = console.is_terminal and not console.is_dumb_terminal and not quiet
        self._plan = plan
        self._console = console
        self._live: Live | None = None

    def __enter__(self) -> "LoadProgress":
        if self.wanted:
            from rich.live import Live
            from rich.text import Text

            self._live = Live(Text(self._before), console=self._console, auto_refresh=False, transient=True)
            self._live.start(refresh=True)
        return self

    def show(self, snapshot: Snapshot) -> None:
        """Draw one state of the run."""
        if self._live is not None:
            size = self._console.size
            blocks = self._console.encoding.startswith("utf")
            view = live_view(self._plan, snapshot, width=size.width, height=size.height, blocks=blocks)
            self._live.update(view, refresh=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()


def live_view(plan: LoadPlan, snapshot: Snapshot, *, width: int, height: int, blocks: bool = True) -> "Text":
    """Return one state of the run: progress, figures, failures and, if there is room, a histogram.

    `blocks`: the terminal can show block characters.
    """
    from rich.text import Text

    room = width - 3  # for the ^C that the terminal itself prints
    text = Text(no_wrap=True, overflow="crop", end="")
    text.append(_progress(plan, snapshot, room, "━─" if blocks else "=-"))
    shown = [name for name, rank in _FIGURES.items() if rank <= max(1, room // _COLUMN)]
    text.append("\n" + "".join(f"{name:>{_COLUMN}}" for name in shown), style="dim")
    figures = _figures(snapshot)
    text.append("\n")
    for name in shown:
        style = "red" if name == "failed" and snapshot.failed else ""
        text.append(f"{figures[name]:>{_COLUMN}}", style=style)
    text.append("\n" + _failures(snapshot)[:room], style="red")
    bars = list(_bars(snapshot.responses, room, "█▏" if blocks else "#|"))
    if len(bars) + 6 <= height:
        text.append("\nresponse time so far, ms", style="dim")
        text.append("".join(f"\n{bar}" for bar in bars))
    return text


def _progress(plan: LoadPlan, snapshot: Snapshot, room: int, marks: str) -> str:
    share = _share(plan, snapshot)
    planned = f" of {plan.planned_s:.0f} s" if plan.planned_s else ""
    words = "warming up" if snapshot.warming_up else f"{snapshot.elapsed_s:6.1f} s{planned}"
    bar = max(10, min(40, room - 30))
    filled = round(share * bar)
    return f"{share:4.0%} {marks[0] * filled}{marks[1] * (bar - filled)} {words}"[:room]


def _share(plan: LoadPlan, snapshot: Snapshot) -> float:
    """Return the completed share of the run, 0..1."""
    if snapshot.warming_up:
        return 0.0
    by_time = snapshot.elapsed_s / plan.planned_s if plan.planned_s else 0.0
    done = snapshot.ok + snapshot.failed
    by_count = done / plan.requests if plan.requests and plan.mode == "closed" else 0.0
    return min(1.0, max(by_time, by_count))


def _figures(snapshot: Snapshot) -> dict[str, str]:
    if snapshot.recent:
        p50, p95, p99, top = map(milliseconds, histogram.percentiles(snapshot.recent, (50, 95, 99, 100)))
    else:
        p50 = p95 = p99 = top = "-"
    return {
        "rate/s": f"{snapshot.rate_rps:.1f}" if snapshot.rate_rps < 1000 else f"{snapshot.rate_rps:.0f}",
        "sent": str(snapshot.sent),
        "ok": str(snapshot.ok),
        "failed": str(snapshot.failed),
        "in flight": str(snapshot.inflight),
        "p50 ms": p50,
        "p95 ms": p95,
        "p99 ms": p99,
        "max ms": top,
    }


def _failures(snapshot: Snapshot) -> str:
    """Return the most frequent kinds of failures; an empty line keeps their place."""
    ordered = sorted(snapshot.failures.items(), key=lambda item: -item[1])
    parts = [f"{name}: {count}" for name, count in ordered[:_ERRORS_SHOWN]]
    if len(ordered) > _ERRORS_SHOWN:
        parts.append(f"{len(ordered) - _ERRORS_SHOWN} more kinds")
    return "     failed " + "  ".join(parts) if parts else ""


def _bars(responses: Buckets, room: int, marks: str) -> Iterator[str]:
    """Yield a line for each range of response times; the ranges are round and never move."""
    edges, counts = _ranges(responses)
    most, length = max(counts, default=0), max(10, min(60, room - 24))
    for edge, count in zip(edges, counts, strict=True):
        bar = marks[0] * round(count / most * length) or (marks[1] if count else "")
        yield f"{milliseconds(edge):>9} {bar:<{length}} {count:>10}"


def _ranges(responses: Buckets) -> tuple[list[float], list[int]]:
    """Return where each range begins (µs) and the number of its samples, from the shortest to the longest seen."""
    if not responses:
        return [], []
    low, high = min(responses), max(responses)
    for ladder in _LADDERS:
        edges = [0.0, *(step * 10.0**decade for decade in range(1, 9) for step in ladder)]
        begin, end = bisect_right(edges, low) - 1, bisect_right(edges, high)
        if end - begin <= _MOST_BARS:
            break
    counts = [0] * len(edges)
    for value, count in responses.items():
        counts[bisect_right(edges, value) - 1] += count
    return edges[begin:end], counts[begin:end]
