"""Run a plan on the workers of a Locust master, for load from several machines.

Locust carries the shares of the plan and their results; each worker runs the engine. Locust is never imported here:
its import patches half of the standard library. Its master and workers do not authenticate each other, so the master
listens on loopback unless given an address of a private network.
"""

import contextlib
import importlib.util
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from toombos_cli.base.addresses import is_loopback
from toombos_cli.base.errors import OperationError, UsageError
from toombos_cli.load.engine.recorder import EngineResult
from toombos_cli.load.frames import FrameBuffer, packed
from toombos_cli.load.locust_workers import Workers
from toombos_cli.load.observer import LoadObserver
from toombos_cli.load.options import LoadOptions
from toombos_cli.load.plan import LoadPlan

_START_S = 60.0
_REMOTE_START_S = 600.0  # people start remote workers by hand
_STOP_S = 15.0
_LOOK_S = 0.2
_END_S = 3.0
_CHUNK = 1 << 20
_NOT_PASSED_ON = ("locust_",)
_CONTROL = "TOOMBOS_LOCUST_CONTROL"
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocustFleet:
    """The workers that send: started on other machines if `master_host` is given, else started here."""

    workers: int
    master_host: str | None = None
    master_port: int = 5557

    @property
    def worker_command(self) -> str:
        """The command that starts a worker on another machine."""
        return f"locust -f - --worker --master-host {self.master_host}"

    @property
    def awaited(self) -> str:
        """What the run waits for before it begins."""
        if self.master_host is None:
            return "starting Locust"
        return f"waiting for {self.workers} workers, on each machine: {self.worker_command}"


def locust_fleet_of(options: LoadOptions) -> LocustFleet | None:
    """Return the Locust workers that send, or None if toombos sends the requests itself. Raise UsageError."""
    if options.locust_workers is not None:
        return LocustFleet(workers=options.locust_workers, master_host=options.locust_master)
    if options.locust_master is not None:
        raise UsageError(
            "needs --locust-workers", where="--locust-master", hint="give the number of workers to wait for"
        )
    return None


def check_locust(plan: LoadPlan, fleet: LocustFleet) -> None:
    """Raise UsageError or OperationError if these workers cannot run this plan."""
    if importlib.util.find_spec("locust") is None:
        raise OperationError(
            "Locust is not installed", where="--locust-workers", hint="install it: pip install 'toombos[locust]'"
        )
    if fleet.workers < 1:
        raise UsageError(f"must be above 0, not {fleet.workers}", where="--locust-workers")
    if plan.processes > 1:
        raise UsageError(
            "each Locust worker is one process", where="--processes", hint="start more workers: --locust-workers N"
        )
    parts = plan.max_connections if plan.mode == "open" else plan.connections
    if parts < fleet.workers:
        raise UsageError(
            f"{fleet.workers} workers cannot share {parts} connection{'s' * (parts != 1)}", where="--locust-workers"
        )
    if fleet.master_host is not None and not is_loopback(fleet.master_host):
        _check_reach(plan)


def _check_reach(plan: LoadPlan) -> None:
    """Raise UsageError if workers on other machines cannot reach the target, or would reach another one."""
    target, endpoint = plan.target, plan.target.endpoint
    if endpoint.unix is not None or is_loopback(target.address):
        raise UsageError(
            f"workers on other machines would each load their own {target.address}",
            where="--locust-master",
            hint="give the URL by which the workers reach it, with --allow-target HOST",
        )
    if endpoint.client_cert is not None or endpoint.ca_file is not None:
        raise UsageError(
            "workers on other machines do not have the certificate files of the manifest", where="--locust-master"
        )


def run_locust(plan: LoadPlan, fleet: LocustFleet, observer: LoadObserver) -> tuple[EngineResult, tuple[str, ...]]:
    """Return what the workers measured, and their hosts; `plan` has a process for each worker.

    SIGINT and SIGTERM end the run and keep the figures so far. Raise OperationError if a worker cannot take part or is
    lost, with the last lines of Locust's log if Locust failed.
    """
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="toombos-locust-")))
        file = directory / "locustfile.py"
        file.write_text(resources.files("toombos_cli.load").joinpath("locustfile.py").read_text("utf-8"))
        run = _Run(plan, fleet, observer, directory)
        stack.callback(run.end)
        run.start(file)
        received = run.drive()
        outcome = run.workers.merged()
    outcome.interrupted_by = received
    return outcome, run.workers.hosts


class _Run:
    """The processes of one run on this machine, and the socket to the master."""

    def __init__(self, plan: LoadPlan, fleet: LocustFleet, observer: LoadObserver, directory: Path) -> None:
        self._plan = plan
        self._fleet = fleet
        self._directory = directory
        self._socket, self._theirs = socket.socketpair()
        self._frames = FrameBuffer()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.workers = Workers(plan, observer, self._send)

    def start(self, file: Path) -> None:
        """Start the master, and the workers unless they run elsewhere."""
        fleet = self._fleet
        host, port = fleet.master_host or "127.0.0.1", fleet.master_port if fleet.master_host else _free_port()
        master = ["--master", "--headless", "--only-summary", "--expect-workers", str(fleet.workers)]
        master += ["--master-bind-host", host, "--master-bind-port", str(port)]
        self._start("master", file, master, pass_fds=(self._theirs.fileno(),))
        self._theirs.close()
        for index in range(0 if fleet.master_host else fleet.workers):
            self._start(f"worker-{index}", file, ["--worker", "--master-host", host, "--master-port", str(port)])

    def _start(self, name: str, file: Path, args: list[str], *, pass_fds: tuple[int, ...] = ()) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.lower().startswith(_NOT_PASSED_ON)}
        with self._log(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "locust", "-f", str(file), *args],
                cwd=file.parent,
                env=environment | {_CONTROL: str(pass_fds[0])} if pass_fds else environment,
                pass_fds=pass_fds,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for this process, so that the results come first
            )

    def drive(self) -> int:
        """Run to the end; return the signal that ended it early, or 0."""
        received: list[int] = []
        before = {number: signal.signal(number, lambda n, _: received.append(n)) for number in _STOP_SIGNALS}
        start_s = _REMOTE_START_S if self._fleet.master_host else _START_S
        gives_up_at = time.monotonic() + start_s
        ends_at = float("inf")
        try:
            while not self.workers.is_complete:
                self._receive()
                now = time.monotonic()
                if not self.workers.has_begun:
                    if received:
                        raise KeyboardInterrupt
                    if now > gives_up_at:
                        raise self._not_connected(start_s)
                elif ends_at == float("inf"):
                    ends_at = now + self._longest_s()
                if received and self.workers.has_begun:
                    self.workers.stop()
                if now > ends_at:
                    raise OperationError(f"the workers did not finish in time: {self._last_words('master')}")
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return received[0] if received else 0

    def _longest_s(self) -> float:
        plan = self._plan
        if plan.planned_s is None:
            return float("inf")
        return plan.warmup_s + plan.planned_s + plan.drain_s + plan.timeout_s + _STOP_S

    def _receive(self) -> None:
        """Wait for frames for a short time, and take them. Raise OperationError if Locust or a worker has ended."""
        if select.select([self._socket], [], [], _LOOK_S)[0]:
            data = self._socket.recv(_CHUNK)
            if not data:
                raise self._no_result()
            for frame in self._frames.feed(data):
                self.workers.receive(frame)
            return
        for name, process in self._processes.items():
            if name != "master" and process.poll() is not None:
                known = next((w for w in self.workers.members.values() if w.pid == process.pid), None)
                if known is not None and known.outcome is None:
                    raise self.workers.lost(known)
                if known is None:
                    raise OperationError(f"a Locust worker ended: {self._last_words(name)}")

    def _not_connected(self, start_s: float) -> OperationError:
        found, wanted = len(self.workers.members), self._fleet.workers
        if self._fleet.master_host is None:
            return OperationError(
                f"{found} of {wanted} Locust workers started within {start_s:.0f} s: {self._last_words('worker-0')}"
            )
        return OperationError(
            f"{found} of {wanted} Locust workers have connected within {start_s:.0f} s",
            where=f"--locust-master {self._fleet.master_host}",
            hint=f"on each machine: {self._fleet.worker_command}",
        )

    def _send(self, worker: str, kind: str, data: bytes) -> None:
        try:
            self._socket.sendall(packed(kind, data, worker))
        except OSError:
            raise self._no_result() from None

    def _no_result(self) -> OperationError:
        return OperationError(f"Locust ended without a result: {self._last_words('master')}")

    def end(self) -> None:
        """End the master, by closing its socket, and with it the workers; what does not end is ended."""
        self._socket.close()
        for process in self._processes.values():  # the master first
            for end in (process.terminate, process.kill):
                try:
                    process.wait(_END_S)
                    break
                except subprocess.TimeoutExpired:
                    end()
            process.wait()

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def _last_words(self, name: str) -> str:
        """Return the last lines of a log, for a message."""
        log = self._log(name)
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        return " | ".join(lines[-4:]) or "its log is empty"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
