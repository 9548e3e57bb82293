"""Time of `toombos health` on a running system, compared with the imports that it needs.

The floor is an interpreter that imports typer, httpx (without its own command line), psutil and rich's console and
table, plus the slowest probe of the same run. A second floor also asks one service through httpx, which imports
httpcore and h11 for it. Also measures `status` against its imports, `--help` and `--version` against typer with rich's
console, and the time of the smoke test. Starts and stops its own dry-run system on free ports.
usage: health_start.py [--runs 15]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.ports import free_port
from tests.support.runner import TOOMBOS

FLOOR = "import sys; sys.modules['httpx._main'] = None; import typer, httpx, psutil, rich.console, rich.table"
ASK = "; httpx.Client(trust_env=False, verify=False).get('http://127.0.0.1:{port}/health')"
STATUS = "import typer, psutil, msgspec, rich.console, rich.table"
TYPER = "import typer, rich.console"


def seconds(argv: tuple[str, ...], project: Path) -> tuple[float, str]:
    """Return (wall time, stdout) of one run."""
    started = time.perf_counter()
    done = subprocess.run(argv, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return time.perf_counter() - started, done.stdout


def measure(project: Path, port: int, runs: int) -> None:
    """Alternate the arms, so that a busy machine affects all equally, and print medians and ratios."""
    arms = {
        "floor": (sys.executable, "-c", FLOOR),
        "asking floor": (sys.executable, "-c", FLOOR + ASK.format(port=port)),
        "typer": (sys.executable, "-c", TYPER),
        "status floor": (sys.executable, "-c", STATUS),
        "health": (*TOOMBOS, "health", "--json"),
        "status": (*TOOMBOS, "status", "--json"),
        "help": (*TOOMBOS, "--help"),
        "version": (*TOOMBOS, "--version"),
        "smoke": (*TOOMBOS, "smoke", "--json"),
    }
    seen: dict[str, list[float]] = {name: [] for name in arms}
    probes: list[float] = []
    for run in range(runs + 1):
        for name, argv in arms.items():
            took, output = seconds(argv, project)
            if run == 0:  # warms the caches
                continue
            seen[name].append(took)
            if name == "health":
                services = json.loads(output)["data"]["services"]
                probes.append(max(s["latency_ms"] for s in services) / 1000)
    medians = {name: statistics.median(values) for name, values in seen.items()}
    probe = statistics.median(probes)
    print({name: f"{value * 1e3:.0f} ms" for name, value in medians.items()}, f"slowest probe {probe * 1e3:.0f} ms")
    print(f"health / (floor + slowest probe): {medians['health'] / (medians['floor'] + probe):.2f}  (at most 1.25)")
    print(f"health / the floor that asks one service: {medians['health'] / medians['asking floor']:.2f}")
    print(f"status / its imports: {medians['status'] / medians['status floor']:.2f}  (at most 1.3)")
    for name in ("help", "version"):
        print(f"{name} / typer: {medians[name] / medians['typer']:.2f}")
    print(f"smoke: {medians['smoke']:.2f} s  (under 3 s)")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    os.environ.pop("API_KEY", None)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling our own modules would count as their import
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory)
        ports = {name: free_port() for name in ("crm", "platform", "generator")}
        tables = "".join(f"[services.{name}]\nport = {port}\n" for name, port in ports.items())
        (project / "toombos.toml").write_text(f'extends = "toombos"\n{tables}')
        subprocess.run((*TOOMBOS, "start", "--dry-run"), cwd=project, stdout=subprocess.DEVNULL, check=True)
        try:
            measure(project, ports["crm"], runs)
        finally:
            subprocess.run((*TOOMBOS, "stop"), cwd=project, stdout=subprocess.DEVNULL, check=False)


if __name__ == "__main__":
    main()
