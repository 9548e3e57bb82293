"""Shows new output of the services in its own thread: a stalled reader must not stall supervision."""

import queue
import threading
from collections.abc import Callable

from toombos_cli.logs.follower import Follower
from toombos_cli.logs.lines import text_of

OnLine = Callable[[str, str], None]
_POLL_S = 0.1
_PATIENCE_S = 2.0


class Showing:
    """Passes each new line to `on_line`; if that fails, as it does once nobody reads, calls `on_failure`."""

    def __init__(self, followers: dict[str, Follower], on_line: OnLine, on_failure: Callable[[], object]) -> None:
        self._failure: BaseException | None = None
        self._followers = followers
        self._on_line = on_line
        self._on_failure = on_failure
        self._news: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def soon(self, work: Callable[[], object]) -> None:
        """Call `work` between two lines: it may print, too."""
        self._news.put(work)

    def end(self) -> None:
        """Show the rest, if the reader takes it within two seconds. Raise what `on_line` raised."""
        self._ended.set()
        self._thread.join(_PATIENCE_S)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            last = False
            while not last:
                last = self._ended.wait(_POLL_S)
                for name, follower in self._followers.items():
                    while lines := follower.poll():
                        for line in lines:
                            self._on_line(name, text_of(line))
                while not self._news.empty():
                    self._news.get()()
        except BaseException as error:  # rich exits by SystemExit once nobody reads
            self._failure = error
            self._on_failure()
