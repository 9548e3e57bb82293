"""Profiles of a running Python service: its stacks at one moment, and a flame graph of some seconds (py-spy)."""

import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from toombos_cli.base.directories import make_private_directory
from toombos_cli.base.errors import OperationError
from toombos_cli.base.results import Report, Verdict
from toombos_cli.diagnose.facts.source import FactUnavailableError, LiveFacts
from toombos_cli.diagnose.facts.stacks import find_py_spy
from toombos_cli.diagnose.facts.system import SYSTEM
from toombos_cli.manifest.model import Manifest
from toombos_cli.project.commands import start_as_before

_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadStack:
    """A thread at one moment: whether it ran, and its frames, the innermost first."""

    name: str
    active: bool
    frames: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileReport(Report):
    """`stack` is the output of py-spy dump, `threads` the same parsed; `flame_graph` an SVG of `duration_s` seconds.

    `idle` means that no thread ran in that time: the graph then shows where they waited, during one second.
    """

    kind: ClassVar[str] = "profile"

    service: str
    pid: int
    stack: str
    threads: tuple[ThreadStack, ...]
    idle: bool
    flame_graph: Path
    duration_s: float

    @property
    def verdict(self) -> Verdict:
        """Always PASS: a profile checks nothing."""
        return Verdict.PASS


def run_profile(manifest: Manifest, service: str, *, duration_s: float, output: Path | None = None) -> ProfileReport:
    """Profile a running service. Raise OperationError if it is not running or cannot be inspected."""
    program = find_py_spy()
    if program is None:
        raise OperationError("py-spy is not installed", hint="pip install 'toombos[profile]'")
    try:
        found = LiveFacts(manifest).get(SYSTEM).services[service]
    except FactUnavailableError as error:
        raise OperationError(
            f"{service} cannot be profiled: {error}", hint="repeat it when the machine is less busy"
        ) from None
    pid = found.pid or (found.by_hand.pid if found.by_hand and found.by_hand.pid else 0)
    if not pid:
        raise OperationError(f"{service} is not running", hint=start_as_before(manifest, service).command)
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    target = output or manifest.project / "run" / "profiles" / f"{service}-{moment}.svg"
    try:
        make_private_directory(target.parent)
    except OSError as error:
        raise OperationError(f"cannot be created: {error.strerror}", where=str(target.parent)) from None
    stack = _run([program, "dump", "--pid", str(pid)], 10.0)
    whole = max(1, round(duration_s))
    record = ["record", "--pid", str(pid), "--nonblocking", "--output", str(target), "--duration"]
    idle = False
    try:
        _run([program, *record, str(whole)], whole + _PATIENCE_S)
    except OperationError as error:
        if "No stack counts" not in str(error):
            raise
        idle = True
        _run([program, *record, "1", "--idle"], 1 + _PATIENCE_S)
    return ProfileReport(
        service=service,
        pid=pid,
        stack=stack,
        threads=tuple(taken_apart(stack)),
        idle=idle,
        flame_graph=target,
        duration_s=float(whole),
    )


def taken_apart(stack: str) -> Iterator[ThreadStack]:
    """Yield the threads in the output of py-spy dump."""
    _, *parts = re.split(r"(?m)^Thread (?=\S+ \()", stack)
    for part in parts:
        head, *frames = part.splitlines()
        found = re.match(r"(\S+) \((\w+)[^)]*\)(?:: \"(.*)\")?", head)
        if found:
            yield ThreadStack(
                name=found[3] or f"thread {found[1]}",
                active=found[2] == "active",
                frames=tuple(frame.strip() for frame in frames if frame.strip()),
            )


def _run(argv: list[str], timeout_s: float) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False, umask=0o077)
    except subprocess.TimeoutExpired:
        raise OperationError(f"py-spy {argv[1]} did not end within {timeout_s:g} s") from None
    except OSError as error:
        raise OperationError(f"py-spy cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        denied = "permission" in done.stderr.lower()
        raise OperationError(
            f"py-spy cannot inspect pid {argv[3]}: {said}",
            hint="run as root, or set kernel.yama.ptrace_scope=0" if denied else "is it a Python service?",
        )
    return done.stdout
