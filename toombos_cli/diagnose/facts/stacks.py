"""The stacks of services that keep a core busy, if py-spy is installed."""

import subprocess
import sys
from pathlib import Path

from toombos_cli.base.programs import find_program
from toombos_cli.diagnose.facts.machine import MACHINE
from toombos_cli.diagnose.facts.source import Fact, Facts
from toombos_cli.diagnose.facts.system import SYSTEM

_TIMEOUT_S = 1.5
_FRAMES = 12


def _gather(facts: Facts) -> dict[str, tuple[str, ...]]:
    limit = 100 * facts.manifest.monitoring.thresholds.cpu_ratio
    program = find_py_spy()
    busy = [name for name, percent in facts.get(MACHINE).service_cpu_percent.items() if percent >= limit]
    services = facts.get(SYSTEM).services
    return {name: _frames(program, services[name].pid) for name in busy if program and services[name].pid}


def find_py_spy() -> str | None:
    """Return the path of py-spy, on PATH or beside the interpreter, or None if it is not installed."""
    beside = Path(sys.executable).with_name("py-spy")
    return find_program("py-spy") or (str(beside) if beside.is_file() else None)


def _frames(program: str, pid: int) -> tuple[str, ...]:
    try:
        done = subprocess.run(
            [program, "dump", "--nonblocking", "--pid", str(pid)],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    lines = [line.strip() for line in done.stdout.splitlines()]
    active = next((at for at, line in enumerate(lines) if "(active" in line), None)
    return tuple(lines[active : active + _FRAMES]) if active is not None and done.returncode == 0 else ()


STACKS: Fact[dict[str, tuple[str, ...]]] = Fact("stacks", dict[str, tuple[str, ...]], _gather)
