"""Time and memory of `toombos diagnose`: healthy, with five hung services, with a log of 5 GB.

    python tests/benchmarks/diagnose.py [RUNS]

Prints seconds, the best of RUNS (default 5), and the ratio of 5 GB to 5 MB, measured alternately in the same run.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.ports import free_port
from tests.support.runner import TOOMBOS


def run(project: Path, *args: str) -> float:
    """Return the seconds that one command takes."""
    begun = time.perf_counter()
    subprocess.run([*TOOMBOS, *args], cwd=project, capture_output=True, check=False)
    return time.perf_counter() - begun


def peak_mb(project: Path, *args: str) -> float:
    """Return the peak resident memory of one command, in MB (10^6 bytes); Linux counts in KiB."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], capture_output=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *TOOMBOS, *args], cwd=project, capture_output=True, text=True, check=True
    )
    return int(done.stdout) * 1024 / 1e6


def make_project(directory: Path) -> Path:
    tables = "".join(f"[services.{name}]\nport = {free_port()}\n" for name in ("crm", "platform", "generator"))
    (directory / "toombos.toml").write_text(
        f'extends = "toombos"\n[logs]\nmax_mb = 1000000\ndaily = false\n{tables}'
    )  # no rotation during the measurement
    run(directory, "config", "init")
    return directory


def fill(log: Path, size_bytes: int) -> None:
    """Write a log of this size: a sparse hole, then 5 MB of lines that are read."""
    line = b'{"timestamp":"2026-01-01T00:00:00Z","level":"INFO","logger":"services.requests","message":"GET / 200"}\n'
    lines = line * (5_000_000 // len(line))
    with log.open("wb") as file:
        file.truncate(max(0, size_bytes - len(lines) - 1))
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + lines)


def hung(directory: Path, runs: int) -> float:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
    tables = (f'[services.s{i}]\ncommand = ["x"]\nport = {s.getsockname()[1]}\n' for i, s in enumerate(sockets))
    (directory / "toombos.toml").write_text('name = "five"\n' + "".join(tables))
    return min(run(directory, "diagnose") for _ in range(runs))


def main(runs: int) -> None:
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        project = make_project(Path(first))
        run(project, "start", "--dry-run")
        try:
            print(f"--version             {min(run(project, '--version') for _ in range(runs)):7.2f} s")
            print(f"healthy               {min(run(project, 'diagnose') for _ in range(runs)):7.2f} s")
            print(f"peak memory           {peak_mb(project, 'diagnose'):7.0f} MB")
            log = project / "logs" / "app.log"
            small, large = [], []
            for _ in range(runs):
                fill(log, 5_000_000)
                small.append(run(project, "diagnose"))
                fill(log, 5_000_000_000)
                large.append(run(project, "diagnose"))
            print(f"5 MB of log           {min(small):7.2f} s")
            print(f"5 GB of log           {min(large):7.2f} s, ratio {min(large) / min(small):.2f}")
            print(f"peak memory with 5 GB {peak_mb(project, 'diagnose'):7.0f} MB")
        finally:
            run(project, "stop")
        print(f"five hung services    {hung(Path(second), runs):7.2f} s")
    print(f"load average          {os.getloadavg()[0]:7.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
