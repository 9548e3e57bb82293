"""Shows the services' new output from a thread of its own: a reader of ours that stalls must not stall supervision."""

import threading
from collections.abc import Callable

from toombos_cli.logs.follower import Follower

OnLine = Callable[[str, str], None]
_POLL_S = 0.1
_PATIENCE_S = 2.0


class Showing:
    """Hands each new line to `on_line`; when that fails, as it does once nobody reads, `on_failure` is called."""

    def __init__(self, followers: dict[str, Follower], on_line: OnLine, on_failure: Callable[[], object]) -> None:
        self._failure: BaseException | None = None
        self._followers = followers
        self._on_line = on_line
        self._on_failure = on_failure
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Shows what is left, if the reader takes it within two seconds. Raises what `on_line` raised."""
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
                            self._on_line(name, line.decode("utf-8", "replace"))
        except BaseException as error:  # rich ends the program, by SystemExit, when nobody reads any more
            self._failure = error
            self._on_failure()
