"""The workers of a Locust run: who they are, what they get, and what they report. It does no I/O.

hello -> share -> ready, and once all are ready: begin -> snapshots -> result -> ended
"""

import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from time import perf_counter_ns as clock

import msgspec

from toombos_cli import __version__
from toombos_cli.base.errors import OperationError
from toombos_cli.base.text import one_line
from toombos_cli.base.untrusted import UntrustedError, decode_packed
from toombos_cli.load.engine.recorder import EngineResult
from toombos_cli.load.frames import Frame
from toombos_cli.load.observer import LoadObserver, Snapshot, summed
from toombos_cli.load.plan import LoadPlan

Send = Callable[[str, str, bytes], None]
"""Sends (worker, kind, data)."""


class Hello(msgspec.Struct, frozen=True):
    """How a worker introduces itself; `version` is that of its toombos, or "" if it has none."""

    version: str
    host: str
    pid: int


@dataclass(slots=True)
class Worker:
    """A worker that takes part. `place` says where it runs."""

    place: str
    host: str
    pid: int
    is_ready: bool = False
    snapshot: Snapshot | None = None
    outcome: EngineResult | None = None


class Workers:
    """The workers of one run, by the name that Locust gives each."""

    def __init__(self, plan: LoadPlan, observer: LoadObserver, send: Send) -> None:
        self._plan = plan
        self._shares = plan.shares()
        self._observer = observer
        self._send = send
        self._began_ns = 0
        self._is_stopping = False
        self.members: dict[str, Worker] = {}

    @property
    def has_begun(self) -> bool:
        """Whether the workers send load, or have sent it."""
        return self._began_ns != 0

    @property
    def is_complete(self) -> bool:
        """Whether every worker has reported its result."""
        return self.has_begun and all(worker.outcome for worker in self.members.values())

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts of the workers, each once."""
        return tuple(dict.fromkeys(worker.host for worker in self.members.values()))

    def receive(self, frame: Frame) -> None:
        """Take what a worker has sent. Raise OperationError if the run cannot go on."""
        try:
            self._take(*frame)
        except UntrustedError as error:
            message = f"a worker has sent a {one_line(frame.kind)} that cannot be read: {error}"
            raise OperationError(message, where="--locust-workers") from None

    def _take(self, name: str, kind: str, data: bytes) -> None:
        worker = self.members.get(name)
        if kind == "hello" and worker is None:
            self._welcome(name, decode_packed(data, Hello))
        elif worker is None:
            return  # one more than were asked for
        elif kind == "ready":
            worker.is_ready = True
            self._begin_if_ready()
        elif kind == "snapshot":
            worker.snapshot = decode_packed(data, Snapshot)
            self._show()
        elif kind == "result":
            worker.outcome = decode_packed(data, EngineResult)
            if worker.outcome.aborted or worker.outcome.target_lost:
                self.stop()
        elif kind == "failed":
            raise OperationError(one_line(data.decode("utf-8", "replace")), where=f"worker on {worker.place}")
        elif kind in ("ended", "lost") and worker.outcome is None:
            raise self.lost(worker)

    def _welcome(self, name: str, hello: Hello) -> None:
        """Give a new worker its share, unless all shares are taken. Raise OperationError if it cannot run it."""
        place = f"{one_line(hello.host)} (pid {hello.pid})"
        if len(self.members) == len(self._shares):
            return
        if hello.version != __version__:
            found = f"has toombos {one_line(hello.version)}" if hello.version else "has no toombos"
            raise OperationError(
                f"the worker on {place} {found}, and this is {__version__}",
                where="--locust-workers",
                hint=f"on {one_line(hello.host)}: pip install 'toombos[locust]=={__version__}'",
            )
        share = self._shares[len(self.members)]
        self.members[name] = Worker(place, one_line(hello.host), hello.pid)
        self._send(name, "share", pickle.dumps((replace(share, processes=1), self._observer.is_lost)))

    def _begin_if_ready(self) -> None:
        found = self.members.values()
        if not self.has_begun and len(found) == len(self._shares) and all(worker.is_ready for worker in found):
            self._began_ns = clock()
            for name in self.members:
                self._send(name, "begin", b"")

    def _show(self) -> None:
        snapshots = [worker.snapshot for worker in self.members.values() if worker.snapshot]
        if self._observer.on_snapshot is not None and len(snapshots) == len(self.members):
            self._observer.on_snapshot(summed(snapshots))

    def stop(self) -> None:
        """End the run early; the workers report what they have measured so far."""
        if not self._is_stopping:
            self._is_stopping = True
            for name, worker in self.members.items():
                if worker.outcome is None:
                    self._send(name, "stop", b"")

    def lost(self, worker: Worker) -> OperationError:
        """Return the error of a run that has lost a worker."""
        if not self.has_begun:
            return OperationError(f"the worker on {worker.place} ended before the run began", where="--locust-workers")
        snapshots = [one.snapshot for one in self.members.values() if one.snapshot]
        counted = sum(snapshot.ok + snapshot.failed for snapshot in snapshots)
        return OperationError(
            f"the worker on {worker.place} was lost {(clock() - self._began_ns) / 1e9:.0f} s after the start; "
            f"{counted} requests had been counted until then",
            where="--locust-workers",
            hint="its share of the load was no longer sent, so nothing was judged: run it again",
        )

    def merged(self) -> EngineResult:
        """Return what all workers have measured, on this machine's clock."""
        origin_ns = self._began_ns + round(self._plan.warmup_s * 1e9)
        found = (worker.outcome for worker in self.members.values())
        return EngineResult.merged(_moved(outcome, origin_ns) for outcome in found if outcome is not None)


def _moved(outcome: EngineResult, started_ns: int) -> EngineResult:
    """Return the result with its start at another time: every machine has a clock of its own."""
    by = started_ns - outcome.started_ns
    return replace(
        outcome,
        started_ns=started_ns,
        sending_ended_ns=outcome.sending_ended_ns + by,
        ended_ns=outcome.ended_ns + by,
    )


def host_note(workers: int, hosts: Iterable[str]) -> str:
    """Return where the load came from."""
    return f"sent by {workers} Locust worker{'s' * (workers != 1)} on {', '.join(hosts)}"
