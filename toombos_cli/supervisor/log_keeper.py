"""Keeps the logs within their limits, in threads of its own: a slow disk must not stall supervision, nor a busy
supervisor let a log grow.

A log is looked at as often as its size demands: the faster it may reach half as much again as its limit, the sooner.
Nothing but one stat is done for a log that is within its limit, and all logs that are quiet are looked at together.
Archives are compressed in a second thread.
"""

import os
import queue
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from toombos_cli.manifest.tables.logs import Logs

if TYPE_CHECKING:
    from toombos_cli.logs.rotation import LogFile, RotationRecord

_MB = 1_000_000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _SHORTEST_PAUSE_S = 0.05, 1.0, 0.01
_FASTEST_RATE = 30 * _MB
"""Bytes per second that a log that was quiet until now may suddenly grow by."""
_MOST_OF_LIMIT = 1.5
_FIRST_ROTATION_S = 0.2
_PATIENCE_S = 5.0
_IN_FULL_EVERY_S = 60.0

OnWarning = Callable[[Path, str | None], None]
OnNewContent = Callable[[Path, int | None], None]


@dataclass(slots=True)
class _Watched:
    """One log: what the last look has shown, and when the next one is due. `took_s` is the time of a rotation."""

    log: "LogFile | None" = None
    record: "RotationRecord | None" = None
    inode: int = 0
    size: int = 0
    looked_at: float = 0.0
    next_at: float = 0.0
    rate: float = 0.0
    took_s: float = _FIRST_ROTATION_S
    next_in_full_at: float = 0.0
    """When it is looked at even if it has not changed: another day may have begun."""
    failed: bool = False
    """Whether the last attempt to note its content failed."""


@dataclass(slots=True)
class LogKeeper:
    """Rotates the logs that `paths` returns, each when it is due by `settings`.

    `on_warning` is called, in the keeper's thread, with the outcome of a rotation, and `on_new_content` with the bytes
    that were cut off a log's head, or None if others have truncated or replaced it.
    """

    paths: Callable[[], Collection[str]]
    settings: Callable[[], Logs]
    record_of: Callable[[Path], Path]
    on_warning: OnWarning
    on_new_content: OnNewContent
    _watched: dict[str, _Watched] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)
    _to_compress: "queue.SimpleQueue[LogFile | None]" = field(default_factory=queue.SimpleQueue)
    _threads: list[threading.Thread] = field(default_factory=list)
    _may_import_at: float = 0.0

    def begin(self) -> None:
        """Start the threads."""
        self._may_import_at = time.monotonic() + _LONGEST_PAUSE_S
        for work in (self._keep, self._compress):
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            self._threads.append(thread)

    def end(self) -> None:
        """Let a rotation finish, and end the threads; an archive that is being compressed stays uncompressed."""
        self._ended.set()
        self._to_compress.put(None)
        for thread in self._threads:
            thread.join(_PATIENCE_S)

    def _keep(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._ended.wait(pause_s):
            settings = self.settings()
            self._watched = {path: self._watched.get(path) or _Watched() for path in self.paths()}
            for path, watched in self._watched.items():
                if time.monotonic() >= watched.next_at - _SHORTEST_PAUSE_S / 2:
                    self._look(path, watched, settings)
            now = time.monotonic()
            pause_s = min((w.next_at - now for w in self._watched.values()), default=_LONGEST_PAUSE_S)
            pause_s = max(_SHORTEST_PAUSE_S, min(pause_s, _LONGEST_PAUSE_S))

    def _look(self, path: str, watched: _Watched, settings: Logs) -> None:
        """Look at one log, rotate it if it is due, and decide when to look again."""
        try:
            found = os.stat(path)  # noqa: PTH116  (for each log, each second)
            size, inode = found.st_size, found.st_ino
        except OSError:
            size, inode = 0, 0
        now = time.monotonic()
        unchanged = size == watched.size and inode == watched.inode
        if unchanged and size < settings.max_mb * _MB and now < watched.next_in_full_at:
            watched.looked_at, watched.rate = now, 0.0
            watched.next_at = _next_time(now, self._pause_s(watched, settings))
            return
        watched.next_in_full_at = now + _IN_FULL_EVERY_S
        elapsed_s = now - watched.looked_at
        watched.rate = max(0.0, (size - watched.size) / elapsed_s) if watched.looked_at else 0.0
        replaced = inode != watched.inode or size < watched.size
        watched.looked_at, watched.size = now, size
        # A small log waits until the services have been spawned: they would wait for our imports.
        may_note = now >= self._may_import_at or size > settings.max_mb * _MB / 2
        if (
            replaced and inode and may_note and self._note_content(path, watched)
        ):  # if it fails, the next look tries again
            watched.inode = inode
        if size and watched.log is not None and watched.record is not None:
            expected = size + watched.rate * watched.took_s
            if watched.log.is_due(watched.record, expected, settings, time.time()):
                self._rotate(watched, settings)
        watched.next_at = _next_time(now, self._pause_s(watched, settings))

    @staticmethod
    def _pause_s(watched: _Watched, settings: Logs) -> float:
        """Return in how many seconds at most the log must be looked at again."""
        limit = settings.max_mb * _MB
        headroom = _MOST_OF_LIMIT * limit - watched.size - watched.rate * watched.took_s
        soon_s = headroom / max(2 * watched.rate, _FASTEST_RATE) / 2
        full_s = (limit - watched.size) / watched.rate - watched.took_s if watched.rate else _LONGEST_PAUSE_S
        return max(_SHORTEST_PAUSE_S, min(soon_s, full_s, _LONGEST_PAUSE_S))

    def _note_content(self, path: str, watched: _Watched) -> bool:
        """Read the record of a log that is new here, or that others have truncated or replaced. Return success."""
        from toombos_cli.logs.rotation import LogFile

        if watched.log is None:
            watched.log = LogFile(Path(path), self.record_of(Path(path)))
        else:
            self.on_new_content(watched.log.path, None)
        try:
            watched.log.recover()
            watched.log.note_beginning(time.time())
        except OSError as error:
            self._warn(watched.log, error)
            watched.failed = True
        else:
            if watched.failed:
                self.on_warning(watched.log.path, None)
            watched.failed = False
        watched.record = watched.log.record()
        return not watched.failed

    def _rotate(self, watched: _Watched, settings: Logs) -> None:
        log = watched.log
        if log is None or watched.record is None:
            return
        began, base = time.monotonic(), watched.record.base
        try:
            archive = log.rotate(settings, time.time())
            log.prune(settings)
        except OSError as error:
            self._warn(log, error)
            return
        watched.record = log.record()
        if archive is None:
            return
        took_s = time.monotonic() - began
        watched.took_s = max(took_s, (watched.took_s + took_s) / 2)
        try:
            watched.size = os.stat(log.path).st_size  # noqa: PTH116
        except OSError:
            watched.size = 0
        watched.looked_at = time.monotonic()
        self.on_new_content(log.path, watched.record.base - base)
        lossy = f"{log.path}: its file system cannot cut a file, so a rotation may lose lines"
        self.on_warning(log.path, None if watched.record.lossless else lossy)
        if settings.compress:
            self._to_compress.put(log)

    def _warn(self, log: "LogFile", error: OSError) -> None:
        self.on_warning(log.path, f"{log.path} was not rotated: {error.strerror or error}")

    def _compress(self) -> None:
        """Compress all archives but the newest of each log that was rotated, which a follower may still be reading."""
        while (log := self._to_compress.get()) is not None:
            from toombos_cli.logs.cutting import InterruptedCompressionError, compress

            for archive in log.archives()[:-1]:
                if archive.suffix == ".gz":
                    continue
                try:
                    compress(archive, self._ended.is_set)
                except InterruptedCompressionError:
                    return
                except OSError as error:
                    self.on_warning(log.path, f"{archive} was not compressed: {error.strerror or error}")


def _next_time(now: float, pause_s: float) -> float:
    """Return the next moment within the pause that is the same for all logs with a pause of about this length."""
    step_s = _LONGEST_PAUSE_S
    while step_s > max(pause_s, _SHORTEST_PAUSE_S):
        step_s /= 2
    return (now // step_s + 1) * step_s
