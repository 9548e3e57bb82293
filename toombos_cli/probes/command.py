"""Runs the command that says whether a service is well: by its exit code, and by its output if the manifest says so."""

import os
import re
import select
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import IO

from toombos_cli.base.accounts import child_identity
from toombos_cli.base.redaction import Redactor, secrets_of
from toombos_cli.base.text import one_line, seconds, signal_name
from toombos_cli.manifest.tables.expectations import Expectation
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes.result import Cause, ProbeResult, Reason

_KEPT_BYTES = 64 * 1024
_READ_BYTES = 65536
_MOST_READS = 16
_SHOWN_CHARS = 160
_LOOK_S = 0.02


class _Output:
    """The first and last output of a command on one stream."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self.stream = stream
        self.is_open = stream is not None
        self.truncated = False
        self._begin = b""
        self._end = b""

    def add(self, data: bytes) -> None:
        """Keep the data, or of much data the beginning and the end."""
        room = _KEPT_BYTES - len(self._begin)
        self._begin += data[:room]
        self.truncated = self.truncated or len(self._end) + len(data[room:]) > _KEPT_BYTES
        self._end = (self._end + data[room:])[-_KEPT_BYTES:]

    @property
    def text(self) -> str:
        """What is kept."""
        gap = b"\n" if self.truncated else b""
        return (self._begin + gap + self._end).decode("utf-8", "replace")


class HealthCommand:
    """One run of a command, in a process group of its own; `start` before anything else.

    The supervisor waits for it in its event loop, everyone else with `run_command`.
    """

    def __init__(self, service: Service, expectation: Expectation, values: Mapping[str, str]) -> None:
        self.timeout_s = expectation.timeout_s or service.probe_timeout_s
        self.child: subprocess.Popen[bytes] | None = None
        self._service = service
        self._expectation = expectation
        self._values = values
        self._outputs: dict[int, _Output] = {}
        self._printed = self._complained = _Output(None)
        self._started = 0.0

    def start(self) -> ProbeResult | None:
        """Start the command. Return the result if it cannot be run."""
        self._started = monotonic()
        argv = self._expectation.command
        try:
            self.child = subprocess.Popen(
                argv,
                cwd=self._service.cwd,
                env=dict(self._values),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                **child_identity(self._service.user, self._service.group),
            )
        except OSError as error:
            place = f"its directory {error.filename}" if error.filename == self._service.cwd else repr(argv[0])
            detail = f"the health command cannot be run: {place}: {error.strerror}"
            return self._result(Reason.ERROR, detail)
        self._printed, self._complained = _Output(self.child.stdout), _Output(self.child.stderr)
        for output in (self._printed, self._complained):
            if output.stream is not None:
                os.set_blocking(output.stream.fileno(), False)
                self._outputs[output.stream.fileno()] = output
        return None

    @property
    def outputs(self) -> tuple[int, ...]:
        """The descriptors of its output that may still be read; none of them blocks."""
        return tuple(descriptor for descriptor, output in self._outputs.items() if output.is_open)

    def read(self, descriptor: int) -> bool:
        """Read what it has printed there. Return whether more may follow."""
        return self._read(descriptor) != 0

    def end(self) -> None:
        """Kill what is left of its process group, and close its output."""
        if self.child is not None:
            with suppress(ProcessLookupError, PermissionError):  # nothing is left, or only what may not be signalled
                os.killpg(self.child.pid, signal.SIGKILL)
        for output in self._outputs.values():
            if output.stream is not None:
                output.stream.close()
            output.is_open = False

    def result(self, exit_code: int | None) -> ProbeResult:
        """Return the result for an exit code; None if it did not end in time. Call it before `end`."""
        for descriptor in self.outputs:
            for _ in range(_MOST_READS):
                if not self._read(descriptor):
                    break
        wanted = self._expectation.text
        if exit_code is None:
            detail = f"the health command did not end within {seconds(self.timeout_s)}"
            return self._result(Reason.TIMEOUT, detail, self._complained, self._printed)
        if exit_code != 0:
            how = f"exited with code {exit_code}" if exit_code > 0 else f"was ended by {signal_name(-exit_code)}"
            return self._result(Reason.COMMAND, f"the health command {how}", self._complained, self._printed)
        if wanted is None or re.search(wanted, self._printed.text) is not None:
            return self._result(Reason.OK, "")
        detail = f"the health command's output does not match {wanted!r}"
        shown = (self._printed, self._complained)
        return self._result(Reason.COMMAND, detail, *shown, cause=Cause.UNEXPECTED, silent="it printed nothing")

    def _read(self, descriptor: int) -> int | None:
        """Return how many bytes there were: 0 at the end, None if there are none yet."""
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return None
        output = self._outputs[descriptor]
        output.add(data)
        output.is_open = bool(data)
        return len(data)

    def _result(
        self, reason: Reason, detail: str, *outputs: _Output, cause: Cause | None = None, silent: str = ""
    ) -> ProbeResult:
        """Return the result with the words of the first of the outputs that has any, and without secrets."""
        redactor = Redactor(sorted(secrets_of(self._values)))
        words = next(filter(None, (_first_and_last(redactor.text(output.text)) for output in outputs)), silent)
        clear = one_line(redactor.text(detail) + (f": {words}" if words else ""))
        ended = reason in (Reason.OK, Reason.COMMAND)
        latency_ms = (monotonic() - self._started) * 1000 if ended else None
        return ProbeResult(url=self._service.place, reason=reason, cause=cause, detail=clear, latency_ms=latency_ms)


def _first_and_last(text: str) -> str:
    """Return the first line that is not blank, and the last one if it is another: both may name the cause."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    shown = dict.fromkeys(one_line(line, limit=_SHOWN_CHARS) for line in (*lines[:1], *lines[-1:]))
    return " … ".join(shown)


def run_command(service: Service, expectation: Expectation, values: Mapping[str, str]) -> ProbeResult:
    """Return the result of the command, run with these variables as its environment."""
    command = HealthCommand(service, expectation, values)
    failed = command.start()
    if failed is not None or command.child is None:
        return failed or command.result(None)
    deadline = monotonic() + command.timeout_s
    exit_code: int | None = None
    try:
        while exit_code is None and (left_s := deadline - monotonic()) > 0:
            if command.outputs:
                ready, _, _ = select.select(command.outputs, [], [], min(left_s, _LOOK_S))
                for descriptor in ready:
                    command.read(descriptor)
                exit_code = command.child.poll()
            else:
                exit_code = _waited(command.child, left_s)
        return command.result(exit_code)
    finally:
        command.end()
        command.child.wait()


def _waited(child: "subprocess.Popen[bytes]", timeout_s: float) -> int | None:
    try:
        return child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None
