"""Runs the command that says whether a service is well: exit code 0 is well, and its last line says why not."""

import os
import select
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic

from toombos_cli.base.redaction import Redactor, secrets_of
from toombos_cli.base.text import one_line
from toombos_cli.manifest.tables.expectations import Expectation
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes.result import ProbeResult, Reason

_KEPT_BYTES = 16 * 1024
_READ_BYTES = 65536
_LOOK_S = 0.02


class HealthCommand:
    """One run of a command, in a process group of its own; `start` before anything else.

    The supervisor waits for it in its event loop, everyone else with `run_command`.
    """

    def __init__(self, service: Service, expectation: Expectation, values: Mapping[str, str]) -> None:
        self.timeout_s = expectation.timeout_s or service.probe_timeout_s
        self.child: subprocess.Popen[bytes] | None = None
        self._service = service
        self._argv = expectation.command
        self._values = values
        self._tail = b""
        self._started = 0.0

    def start(self) -> ProbeResult | None:
        """Start the command. Return the result if it cannot be run."""
        self._started = monotonic()
        try:
            self.child = subprocess.Popen(
                self._argv,
                cwd=self._service.cwd,
                env=dict(self._values),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            place = f"its directory {error.filename}" if error.filename == self._service.cwd else repr(self._argv[0])
            detail = f"the health command cannot be run: {place}: {error.strerror}"
            return self._result(Reason.ERROR, detail)
        os.set_blocking(self.output, False)
        return None

    @property
    def output(self) -> int:
        """The descriptor of its output, which does not block."""
        return self._running.stdout.fileno() if self._running.stdout else -1

    def read(self) -> bool:
        """Read what it has printed. Return whether more may follow."""
        try:
            data = os.read(self.output, _READ_BYTES)
        except BlockingIOError:
            return True
        self._tail = (self._tail + data)[-_KEPT_BYTES:]
        return bool(data)

    def end(self) -> None:
        """Kill what is left of its process group, and close its output."""
        with suppress(ProcessLookupError, PermissionError):  # nothing is left, or only what may not be signalled
            os.killpg(self._running.pid, signal.SIGKILL)
        if self._running.stdout is not None:
            self._running.stdout.close()

    def result(self, exit_code: int | None) -> ProbeResult:
        """Return the result for an exit code; None if it did not end in time."""
        if exit_code is None:
            said = self._last_line()
            return self._result(Reason.TIMEOUT, f"the health command did not end within {self.timeout_s:g} s{said}")
        if exit_code == 0:
            return self._result(Reason.OK, "")
        how = f"exited with code {exit_code}" if exit_code > 0 else f"was ended by signal {-exit_code}"
        return self._result(Reason.COMMAND, f"the health command {how}{self._last_line()}")

    @property
    def _running(self) -> "subprocess.Popen[bytes]":
        if self.child is None:
            raise AssertionError("the command was not started")
        return self.child

    def _last_line(self) -> str:
        lines = [line for line in self._tail.decode("utf-8", "replace").splitlines() if line.strip()]
        return f": {lines[-1].strip()}" if lines else ""

    def _result(self, reason: Reason, detail: str) -> ProbeResult:
        clear = one_line(Redactor(sorted(secrets_of(self._values))).text(detail)) if detail else ""
        ended = reason in (Reason.OK, Reason.COMMAND)
        latency_ms = (monotonic() - self._started) * 1000 if ended else None
        return ProbeResult(url=self._service.place, reason=reason, detail=clear, latency_ms=latency_ms)


def run_command(service: Service, expectation: Expectation, values: Mapping[str, str]) -> ProbeResult:
    """Return the result of the command, run with these variables as its environment."""
    command = HealthCommand(service, expectation, values)
    failed = command.start()
    if failed is not None or command.child is None:
        return failed or command.result(None)
    deadline = monotonic() + command.timeout_s
    follows = True
    exit_code: int | None = None
    try:
        while exit_code is None and (left_s := deadline - monotonic()) > 0:
            if follows:
                ready, _, _ = select.select([command.output], [], [], min(left_s, _LOOK_S))
                follows = command.read() if ready else True
                exit_code = command.child.poll()
            else:
                exit_code = _waited(command.child, left_s)
        while follows and exit_code is not None and select.select([command.output], [], [], 0)[0]:
            follows = command.read()
    finally:
        command.end()
        command.child.wait()
    return command.result(exit_code)


def _waited(child: "subprocess.Popen[bytes]", timeout_s: float) -> int | None:
    try:
        return child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None
