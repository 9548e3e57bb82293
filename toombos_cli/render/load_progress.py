"""The progress of a load test, on one line of stderr; nothing if stderr is not a terminal."""

from types import TracebackType
from typing import TYPE_CHECKING

from toombos_cli.load.observer import Snapshot
from toombos_cli.load.plan import LoadPlan

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


# Narrower terminals drop the counts, not the bar, and keep room for the ^C that the terminal itself prints.
_ROOM_FOR_COUNTS = 110


class LoadProgress:
    """Context manager around a run. Draws on each snapshot, not in a thread, which would disturb the run."""

    def __init__(self, plan: LoadPlan, console: "Console", *, quiet: bool = False) -> None:
        self.wanted = console.is_terminal and not quiet
        self._plan = plan
        self._console = console
        self._progress: Progress | None = None

    def __enter__(self) -> "LoadProgress":
        if self.wanted:
            from rich.progress import BarColumn, Progress, TextColumn

            self._progress = Progress(
                TextColumn("{task.percentage:>3.0f} %"),
                BarColumn(bar_width=20),
                TextColumn("{task.description}"),
                console=self._console,
                auto_refresh=False,
                transient=True,
            )
            self._progress.start()
            self._task = self._progress.add_task("connecting", total=1.0)
            self._progress.refresh()
        return self

    def show(self, snapshot: Snapshot) -> None:
        """Draw one state of the run."""
        if self._progress is None:
            return
        words = [
            f"{snapshot.rate_rps:.0f} rps",
            f"p50 {snapshot.p50_us / 1000:.1f} ms",
            f"p99 {snapshot.p99_us / 1000:.1f} ms",
            f"{snapshot.failed} failed",
        ]
        if snapshot.warming_up:
            words.insert(0, "warming up")
        elif self._console.width >= _ROOM_FOR_COUNTS:
            words += [f"{snapshot.ok + snapshot.failed} answered", f"{snapshot.inflight} in flight"]
        self._progress.update(self._task, completed=self._share(snapshot), description="  ".join(words), refresh=True)

    def _share(self, snapshot: Snapshot) -> float:
        """Return the completed share of the run, 0..1."""
        if snapshot.warming_up:
            return 0.0
        by_time = snapshot.elapsed_s / self._plan.planned_s if self._plan.planned_s else 0.0
        done = snapshot.ok + snapshot.failed
        by_count = done / self._plan.requests if self._plan.requests and self._plan.mode == "closed" else 0.0
        return min(1.0, max(by_time, by_count))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
