"""Resources that the servers use under load: CPU, memory and open files of each process tree, on the run's clock.

A separate process takes the samples, so that reading the process table never delays a request.
"""

import multiprocessing
import signal
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from time import perf_counter_ns as clock
from types import TracebackType

from toombos_cli import processes
from toombos_cli.load.plan import LoadTarget
from toombos_cli.manifest.model import Manifest

_EVERY_NS = 1_000_000_000
_LOOKS_BEHIND, _TRIES = 3, 5  # to list the connections of a busy server takes some milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A server to watch: the process that listens on this address, and its descendants.

    `only_behind`: only if a server that is watched has connections to it, as a proxy has to the services behind it.
    """

    name: str
    host: str
    port: int
    only_behind: bool = False
    unix: str = ""


def watched_servers(target: LoadTarget, manifest: Manifest, names: Iterable[str]) -> tuple[Watched, ...]:
    """Return the target, under its name if it is a service of the project, and the named services.

    What the target depends on works for its requests too, and so do the services that it has connections to: a proxy
    uses little CPU itself. None at another place, where no process can be seen.
    """
    if manifest.place is not None:
        return ()
    unix = str(target.endpoint.unix.absolute()) if target.endpoint.unix else ""
    place = target.address if unix else f"{target.host}:{target.port}"
    at = (s.name for s in manifest.services.values() if (s.unix == unix if unix else s.port == target.port))
    own = next(at, place)
    wanted = dict.fromkeys((*_dependencies(own, manifest), *names))
    services = [manifest.services[name] for name in (*wanted, *(n for n in manifest.services if n not in wanted))]
    return (
        Watched(name=own, host=target.address, port=target.port, unix=unix),
        *(
            Watched(name=s.name, host=s.host, port=s.port, only_behind=s.name not in wanted)
            for s in services
            if s.port and s.name != own
        ),
    )


def _dependencies(name: str, manifest: Manifest) -> list[str]:
    """Return the services that this one depends on, directly or through others."""
    found = [name]
    for one in found:  # grows
        needed = manifest.services[one].depends_on if one in manifest.services else ()
        found += (other for other in needed if other in manifest.services and other not in found)
    return found[1:]


@dataclass(slots=True)
class ProcessSample:
    """One sample. `at_ns` is on the monotonic clock, `cpu_s` counts from the start of the processes."""

    at_ns: int
    cpu_s: float
    rss_bytes: int
    open_files: int | None
    processes: int


@dataclass(slots=True)
class Observed:
    """A watched server and the pid that listens. The first sample precedes the run, the last one follows it.

    `counts` is False as long as no server that counts has been seen to have a connection to it.
    """

    name: str
    pid: int
    port: int
    counts: bool = True
    samples: list[ProcessSample] = field(default_factory=list)

    def cpu_at(self, at_ns: int) -> float:
        """Return the CPU time at a moment, interpolated between the samples around it."""
        times = [sample.at_ns for sample in self.samples]
        after = min(max(1, bisect_left(times, at_ns)), len(times) - 1)
        before, then = self.samples[after - 1], self.samples[after]
        share = (at_ns - before.at_ns) / max(1, then.at_ns - before.at_ns)
        return before.cpu_s + (then.cpu_s - before.cpu_s) * min(max(0.0, share), 1.0)

    def cpu_after(self, at_ns: int) -> float:
        """Return the CPU time at the first sample from a moment on, or at the last sample."""
        return next((sample.cpu_s for sample in self.samples if sample.at_ns >= at_ns), self.samples[-1].cpu_s)


class ServerWatch:
    """A context manager that takes samples; `observed` holds them afterwards.

    A server whose process is not visible (on another machine, of another user) is left out.
    """

    def __init__(self, watched: tuple[Watched, ...]) -> None:
        self._watched = watched
        self.observed: list[Observed] = []

    def __enter__(self) -> "ServerWatch":
        found = [(watched, _listener(watched)) for watched in self._watched]
        self.observed = [Observed(w.name, pid, w.port, not w.only_behind) for w, pid in found if pid]
        if self.observed:
            context = multiprocessing.get_context("fork")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(
                target=_sample_until_told, args=(self.observed, theirs, self._pipe), daemon=True
            )
            self._process.start()
            theirs.close()
            self._pipe.recv()  # the first sample is taken
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.observed:
            return
        try:
            self._pipe.send("end")
            if self._pipe.poll(10):
                self.observed = [server for server in self._pipe.recv() if server.counts]
        except (OSError, EOFError):
            self.observed = []  # the sampler was killed
        finally:
            self._pipe.close()
            self._process.join(timeout=2)


def _listener(watched: Watched) -> int | None:
    """Return the pid that listens; if several share the socket (a master and its workers), the ancestor."""
    pids = {found.pid for found in processes.listeners_at(watched.host, watched.port) if found.pid}
    rows = filter(None, map(processes.read_row, pids))
    elders = [row.pid for row in rows if row.parent not in pids]
    return min(elders, default=None)


def _sample_until_told(
    servers: list[Observed], pipe: "Connection[object, object]", parents: "Connection[object, object]"
) -> None:
    parents.close()  # inherited: while it is open here, the parent's death goes unnoticed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C; this process ends with it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the parent's handler: this process must end at once
    due, looks = clock(), _LOOKS_BEHIND
    _sample(servers)
    pipe.send("ready")
    while True:
        due += _EVERY_NS
        try:
            if pipe.poll(max(0.0, (due - clock()) / 1e9)):
                pipe.recv()
                _count_those_behind(servers, _sample(servers))
                pipe.send(servers)
                return
        except (EOFError, OSError):  # the parent is gone
            return
        table = _sample(servers)
        if looks:
            looks -= 1
            _count_those_behind(servers, table)


def _count_those_behind(servers: list[Observed], table: processes.ProcessTable) -> None:
    """Let the servers count to which one that counts has a connection."""
    for _ in range(_TRIES):
        unseen = {server.port: server for server in servers if not server.counts}
        if not unseen:
            return
        counting = [server.pid for server in servers if server.counts]
        for port in processes.connected_to(unseen, processes.descendants(counting, table)):
            unseen[port].counts = True


def _sample(servers: list[Observed]) -> processes.ProcessTable:
    """Take a sample of each server and return the process table it is from."""
    table = processes.process_table()
    now = clock()
    for server in servers:
        rows = [table[pid] for pid in processes.descendants([server.pid], table) if pid in table]
        if server.pid in table:
            files = [_open_files(row.pid) for row in rows]
            server.samples.append(
                ProcessSample(
                    at_ns=now,
                    cpu_s=sum(map(processes.cpu_time_s, rows)),
                    rss_bytes=sum(row.rss_bytes for row in rows),
                    open_files=None if None in files else sum(f for f in files if f is not None),
                    processes=len(rows),
                )
            )
    return table


def _open_files(pid: int) -> int | None:
    """Return the number of open files, or None without permission."""
    import psutil

    try:
        return int(psutil.Process(pid).num_fds())
    except psutil.Error:
        return None
