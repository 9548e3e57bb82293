"""Watches the files of services, each in a thread: by the kernel's notices, or by polling where there are none."""

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from toombos_cli.base.text import printable
from toombos_cli.manifest.tables.watch import WatchTable
from toombos_cli.project.state import Phase
from toombos_cli.supervisor.watched_files import WatchedFiles

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

    from toombos_cli.supervisor.unit import ServiceUnit

_WITHOUT_NOTICES = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "9p", "vboxsf", "virtiofs", "fuse.sshfs", "fuse.grpcfuse", "prl_fs", "afs", "ceph"}
)
"""File systems on which another machine's changes are not noticed."""
_POLL_MS = 1000
_LOOK_AGAIN_S = 1.0
_LONGEST_BURST = 20  # times debounce_s
_MOST_RESTARTS, _SPAN_S = 10, 60.0
_END_WITHIN_S = 2.0

Note = Callable[[str, str | None], None]


class FileWatch:
    """The watch of one service's files. `on_change` is called in the thread, with the paths that have changed."""

    def __init__(
        self,
        project: Path,
        table: WatchTable,
        log: Path,
        on_change: Callable[[str], None],
        on_problem: Callable[[str | None], None],
    ) -> None:
        self._files = WatchedFiles(str(project), table, str(log))
        self._step_ms = int(table.debounce_s * 1000)
        self._on_change = on_change
        self._on_problem = on_problem
        self._ended = threading.Event()
        self._polls = False
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Tell the thread to end."""
        self._ended.set()

    def wait(self) -> None:
        """Wait until the thread has ended; it must not run while the interpreter ends."""
        self._thread.join(_END_WITHIN_S)

    def _run(self) -> None:
        watched: frozenset[str] = frozenset()
        seen_at = time.time()
        while not self._ended.is_set():
            directories = self._files.directories()
            try:
                notices = self._open(directories)
            except FileNotFoundError:  # a directory has vanished since
                self._ended.wait(_LOOK_AGAIN_S)
                continue
            except (OSError, RuntimeError) as error:  # also what watchfiles raises itself
                self._cannot_watch(error)
                continue
            if watched:  # what has changed while nothing was watched
                new = set(self._files.existing(directories - watched))
                self._report(new | {p for p in self._files.existing(watched) if _changed_at(p) >= seen_at})
            watched = directories
            seen_at = self._watch(notices, directories)
            notices.close()

    def _open(self, directories: frozenset[str]) -> "RustNotify":
        """Begin to watch these directories, each without those below it."""
        from watchfiles._rust_notify import RustNotify  # only for systems that watch files

        polls = self._polls or bool(os.environ.get("WATCHFILES_FORCE_POLLING")) or _needs_polling(directories)
        return RustNotify(sorted(directories), False, polls, _POLL_MS, False, False)

    def _cannot_watch(self, error: Exception) -> None:
        """Note why, and go on by polling; if that fails too, try again later."""
        text = printable(str(error)).partition(" about ")[0]
        if self._polls:
            self._on_problem(f"its files cannot be watched: {text}")
            self._ended.wait(10 * _LOOK_AGAIN_S)
        else:
            self._on_problem(f"its files are polled every second, because the kernel cannot watch them: {text}")
            self._polls = True

    def _watch(self, notices: "RustNotify", directories: frozenset[str]) -> float:
        """Report changes until other directories have to be watched; return up to when all changes are reported."""
        while True:
            seen_at = time.time()
            try:
                found = notices.watch(_LONGEST_BURST * self._step_ms, self._step_ms, 0, self._ended)
            except (OSError, RuntimeError):  # such as a name that is not UTF-8: which files have changed is unknown
                return seen_at
            if isinstance(found, str):  # it is to end
                return seen_at
            seen_at = time.time()
            paths = {path for _, path in found}
            self._report({path for path in paths if self._files.counts(path) and not os.path.isdir(path)})
            if paths & directories or (any(map(os.path.isdir, paths)) and self._files.directories() != directories):
                return seen_at

    def _report(self, paths: set[str]) -> None:
        if paths:
            self._on_change(self._files.shown(paths))


class FileWatches:
    """The watches of all services: one begins when its service is ready and ends when it is stopped."""

    def __init__(self, project: Callable[[], Path], note: Note) -> None:
        self._project = project
        self._note = note
        self._watches: dict[str, FileWatch] = {}
        self._ending: list[FileWatch] = []
        self._changed: dict[str, str] = {}
        self._restarts: dict[str, asyncio.Task[None]] = {}
        self._times: dict[str, deque[float]] = {}

    def __bool__(self) -> bool:
        """Whether a file's change can start a service, also one that has failed."""
        return bool(self._watches)

    def note(self, unit: "ServiceUnit") -> None:
        """Begin or end the watch of a unit, according to its new phase."""
        name, phase = unit.name, unit.state.phase
        if name in self._watches:
            if phase in (Phase.STOPPED, Phase.STOPPING):
                ended = self._watches.pop(name)
                ended.end()
                self._ending.append(ended)
                self._note(f"watch of {name}", None)
                self._note(f"storm of {name}", None)
            return
        table = unit.plan.service.watched if unit.plan else None
        if table is None or phase not in (Phase.READY, Phase.UNHEALTHY):
            return
        loop = asyncio.get_running_loop()
        self._watches[name] = FileWatch(
            self._project(),
            table,
            unit.log,
            lambda files: _in_loop(loop, self._restart, unit, files),
            lambda problem: _in_loop(loop, self._note, f"watch of {name}", problem and f"{name}: {problem}"),
        )

    async def end(self) -> None:
        """End all watches, and wait for their threads."""
        watches = [*self._watches.values(), *self._ending]
        self._watches.clear()
        for watch in watches:
            watch.end()
        for watch in watches:
            await asyncio.to_thread(watch.wait)

    def _restart(self, unit: "ServiceUnit", files: str) -> None:
        """Restart the service; what changes while that is under way causes one more restart."""
        self._changed[unit.name] = files
        task = self._restarts.get(unit.name)
        if unit.name in self._watches and (task is None or task.done()):
            self._restarts[unit.name] = asyncio.create_task(self._restart_until_quiet(unit))

    async def _restart_until_quiet(self, unit: "ServiceUnit") -> None:
        while unit.name in self._watches and (files := self._changed.pop(unit.name, "")):
            self._count(unit.name, files)
            await unit.restart_for(files)

    def _count(self, name: str, files: str) -> None:
        """Warn of a service that writes to its own watched files, and so restarts for ever."""
        times = self._times.setdefault(name, deque(maxlen=_MOST_RESTARTS))
        times.append(time.monotonic())
        storm = len(times) == _MOST_RESTARTS and times[-1] - times[0] < _SPAN_S
        text = f"{name}: {_MOST_RESTARTS} restarts within a minute, last for {files}: add it to watch.ignore"
        self._note(f"storm of {name}", text if storm else None)


def _in_loop(loop: asyncio.AbstractEventLoop, work: Callable[..., None], *arguments: object) -> None:
    try:
        loop.call_soon_threadsafe(work, *arguments)
    except RuntimeError:  # the loop has ended
        return


def _changed_at(path: str) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0


def _needs_polling(directories: frozenset[str]) -> bool:
    """Return whether one of the directories is on a file system that does not notify of all changes."""
    devices = set()
    for directory in directories:
        try:
            number = os.stat(directory).st_dev
        except OSError:
            continue
        devices.add(f"{os.major(number)}:{os.minor(number)}")
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return False
    fields = [line.split() for line in mounts]
    return any(
        line[2] in devices and line[line.index("-") + 1] in _WITHOUT_NOTICES for line in fields if "-" in line[:-1]
    )
