"""Shows the progress of a long operation on files: on a terminal, a bar with the size on stderr."""

from types import TracebackType
from typing import TYPE_CHECKING

from toombos_cli.cli.invocation import Invocation

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


_SHOWN_BYTES = 1 << 20


class Working:
    """The observer of backups and restores: a bar on a terminal, one line per step with `--verbose`, else nothing."""

    def __init__(self, invocation: Invocation) -> None:
        self._console = invocation.stderr
        self._live = self._console.is_terminal and not invocation.options.quiet
        self._lines = not self._live and invocation.options.verbose
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._done = 0

    def step(self, name: str, total_bytes: int = 0) -> None:
        """Start a step; one without a size keeps the bar of the previous step."""
        self._flush()
        if self._lines:
            self._console.print(name)
        if self._progress is None:
            return
        if self._task is not None and not total_bytes:
            self._progress.update(self._task, description=name)
            return
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(name, total=total_bytes or None)

    def advance(self, size_bytes: int) -> None:
        """Add to the progress; redraw once per MiB, because a redraw costs more than copying a small file."""
        self._done += size_bytes
        if self._done >= _SHOWN_BYTES:
            self._flush()

    def _flush(self) -> None:
        done, self._done = self._done, 0
        if done and self._progress is not None and self._task is not None:
            self._progress.advance(self._task, done)

    def __enter__(self) -> "Working":
        if self._live:
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                DownloadColumn(binary_units=True),
                TimeRemainingColumn(compact=True),
                TextColumn("left"),
                console=self._console,
                transient=True,
            )
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
