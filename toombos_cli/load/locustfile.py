"""The Locust file of a load test: it carries frames between toombos, Locust's master and its workers.

Locust finds and watches the workers, and brings them this file. What they send is the engine's affair: each worker
runs its share of the plan with `python -m toombos_cli.load.share`. toombos never imports this file, which has to run
on a worker without toombos in order to say so. A frame is described in load/frames.py.
"""

# mypy: disable-error-code="untyped-decorator,no-untyped-call,import-untyped"
# (Locust's hooks have no types.)

import os
import platform
import socket
import struct
import subprocess
import sys
import time
from typing import IO, Any

import gevent
import msgpack
from locust import User, events, task
from locust.runners import STATE_MISSING, MasterRunner, WorkerRunner

CONTROL = "TOOMBOS_LOCUST_CONTROL"
"""The variable with the number of the master's socket to toombos."""
_LENGTH = struct.Struct("!Q")
_MESSAGE = "toombos"
_LOOK_EVERY_S = 0.5
_MASTER_IS_LOST_S = 10.0  # as soon as the load is nobody's any more, it ends


class IdleUser(User):
    """What Locust counts as a user; the engine's users are in the share."""

    @task
    def wait(self) -> None:
        """Let the share run."""
        gevent.sleep(_LOOK_EVERY_S)


def _read(source: IO[bytes]) -> tuple[str, str, bytes] | None:
    head = source.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    content = source.read(*_LENGTH.unpack(head))
    worker, kind, data = msgpack.unpackb(content)
    return worker, kind, data


def _packed(worker: str, kind: str, data: bytes) -> bytes:
    content: bytes = msgpack.packb([worker, kind, data])
    return _LENGTH.pack(len(content)) + content


class MasterRelay:
    """Passes frames from toombos on to workers, and those of workers to toombos; the end of toombos ends the run."""

    def __init__(self, runner: MasterRunner) -> None:
        self._runner = runner
        self._socket = socket.socket(fileno=int(os.environ[CONTROL]))
        self._seen: set[str] = set()
        runner.register_message(_MESSAGE, self._from_worker)
        gevent.spawn(self._from_toombos)
        gevent.spawn(self._watch)

    def _from_worker(self, msg: Any, **_: Any) -> None:
        self._seen.add(msg.node_id)
        self._socket.sendall(_packed(msg.node_id, msg.data["kind"], msg.data["data"]))

    def _from_toombos(self) -> None:
        source = self._socket.makefile("rb")
        try:
            while frame := _read(source):
                worker, kind, data = frame
                self._runner.send_message(_MESSAGE, {"kind": kind, "data": data}, worker)
            self._runner.quit()
        finally:
            os._exit(0)

    def _watch(self) -> None:
        while True:
            gevent.sleep(_LOOK_EVERY_S)
            clients = self._runner.clients
            for worker in [w for w in self._seen if w not in clients or clients[w].state == STATE_MISSING]:
                self._seen.discard(worker)
                self._socket.sendall(_packed(worker, "lost", b""))


class WorkerRelay:
    """Introduces itself, and runs the share that it gets in a process of its own."""

    def __init__(self, runner: WorkerRunner) -> None:
        self._runner = runner
        self._process: subprocess.Popen[bytes] | None = None
        self._heard_at = time.monotonic()
        runner.register_message(_MESSAGE, self._from_master)
        gevent.spawn(self._introduce)

    def _introduce(self) -> None:
        """Send who this is until there is an answer: the master may not have been listening yet."""
        try:
            from toombos_cli import __version__ as version
        except ImportError:
            version = ""
        hello = msgpack.packb({"version": version, "host": platform.node(), "pid": os.getpid()})
        while self._process is None:
            self._send("hello", hello)
            gevent.sleep(1)

    def _send(self, kind: str, data: bytes = b"") -> None:
        self._runner.send_message(_MESSAGE, {"kind": kind, "data": data})

    def _from_master(self, msg: Any, **_: Any) -> None:
        kind, data = msg.data["kind"], msg.data["data"]
        if kind == "share" and self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "toombos_cli.load.share"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the worker
            )
            gevent.spawn(self._from_share, self._process)
            gevent.spawn(self._stop_without_master, self._process)
        if kind == "stop" and self._process is not None:
            self._process.terminate()
        elif self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(_packed("", kind, data))
            self._process.stdin.flush()

    def _from_share(self, process: "subprocess.Popen[bytes]") -> None:
        while process.stdout is not None and (frame := _read(process.stdout)):
            self._send(*frame[1:])
        self._send("ended", str(process.wait()).encode())

    def _stop_without_master(self, process: "subprocess.Popen[bytes]") -> None:
        events.heartbeat_received.add_listener(self._hear)
        while process.poll() is None:
            gevent.sleep(_LOOK_EVERY_S)
            if time.monotonic() - self._heard_at > _MASTER_IS_LOST_S:
                process.terminate()

    def _hear(self, **_: Any) -> None:
        self._heard_at = time.monotonic()

    def end(self) -> None:
        """End the share, if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()


@events.init.add_listener
def _begin(environment: Any, **_: Any) -> None:
    if isinstance(environment.runner, MasterRunner):
        MasterRelay(environment.runner)
    elif isinstance(environment.runner, WorkerRunner):
        worker = WorkerRelay(environment.runner)
        events.quitting.add_listener(lambda **_: worker.end())
