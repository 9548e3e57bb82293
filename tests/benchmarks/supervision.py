"""The cost of supervision, each figure next to its reference measured in the same run.

    python tests/benchmarks/supervision.py [--rounds 5] [--idle 30]

- start: `toombos start --dry-run` until all are ready, against the same three processes spawned directly and at once
  until all listen (at most 1.5), and against the slowest service's own start (at most 0.15 s more, for services that
  are ready at once).
- status: `toombos status` against a Python process that only imports what it needs (at most 1.3).
- crash: from SIGKILL until the supervisor has recorded it (under 100 ms).
- idle: CPU (under 0.5 % of a core) and memory (under 60 MB) of a supervisor of three HTTP services, and CPU beyond the
  probes, measured with workers: at most 0.05 % for three and 0.2 % for fifty.
- stop: of fifty and a hundred workers, and of fifty HTTP services: at most 0.4 s, twice that, and 0.6 s.
"""

import argparse
import compileall
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import toombos_cli
from tests.support.ports import free_port
from tests.support.runner import TOOMBOS, data_of
from tests.support.waiting import wait_for
from toombos_cli import processes
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.supervisor.plan import build_plan

WEB = Path(__file__).parent.parent / "faults" / "services" / "web.py"
THEIRS = ("toombos_cli", "typer", "rich", "msgspec", "dotenv")
_SETTLED_S = 3.0
_SERVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=16)
while True:
    connection, _ = listener.accept()
    with connection:
        if connection.recv(4096):
            connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")
"""
NAMES = ("crm", "platform", "generator")
WHAT_STATUS_LOADS = """
import contextlib, io, json, sys
from toombos_cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    main(["status"])
print(json.dumps([name for name in sys.modules if name != "__main__"]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle", type=float, default=30.0, help="seconds to watch the idle supervisor")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has compiled bytecode
    compileall.compile_dir(toombos_cli.__path__[0], quiet=1)
    with tempfile.TemporaryDirectory() as directory:
        real = Path(directory) / "real"
        real.mkdir()
        ports = {name: free_port() for name in NAMES}
        tables = "".join(f"[services.{name}]\nport = {port}\n" for name, port in ports.items())
        (real / "toombos.toml").write_text(f'extends = "toombos"\n{tables}')
        bench_start(real, ports, options.rounds)

        quick = Path(directory) / "quick"
        quick.mkdir()
        ports = {name: free_port() for name in NAMES}
        tables = "".join(
            f'[services.{name}]\ncommand = ["{{python}}", "-P", "{WEB}"]\nport = {port}\nenv = {{ PORT = "{port}" }}\n'
            for name, port in ports.items()
        )
        (quick / "toombos.toml").write_text(f'name = "quick"\n{tables}')
        bench_added(quick, ports, options.rounds)
        toombos(quick, "start")
        try:
            bench_status(quick, options.rounds)
            bench_crash(quick, options.rounds)
            percent, rss_bytes = idle(quick, options.idle)
            print(
                f"idle, three HTTP services: {percent:.2f} % of a core (under 0.5), {rss_bytes / 1e6:.0f} MB (under 60)"
            )
        finally:
            toombos(quick, "stop")

        bench_many(Path(directory), options.rounds, options.idle)


def bench_start(project: Path, ports: dict[str, int], rounds: int) -> None:
    listening, ready, ours = [], [], []
    for _ in range(rounds):  # alternating, so that a busy machine affects all three
        listening.append(bare_start(project, ports, listens, mode="dry_run"))
        ready.append(bare_start(project, ports, is_ready, mode="dry_run"))
        ours.append(seconds(lambda: toombos(project, "start", "--dry-run")))
        toombos(project, "stop")
    report(
        "start --dry-run, three services", ours, "the same bare, at once, until all listen", listening, "at most 1.5"
    )
    report("start --dry-run, three services", ours, "the same bare, at once, until all are ready", ready, "-")


def bench_added(project: Path, ports: dict[str, int], rounds: int) -> None:
    """Measure services that are ready at once: the rest is toombos itself."""
    bare, ours, own, used = [], [], [], []
    for _ in range(rounds):
        bare.append(bare_start(project, ports, listens, mode=None))
        ours.append(seconds(lambda: toombos(project, "start")))
        used.append(cpu_s(supervisor_of(project)))
        own.append(max(row["ready_after_s"] for row in status(project)))
        toombos(project, "stop")
    report("start, three services ready at once", ours, "the same processes bare, at once", bare, "-")
    added = statistics.median(a - b for a, b in zip(ours, bare, strict=True))
    print(f"  added to the bare start: {added * 1000:.0f} ms (goal: under 150); spawn to ready {max(own):.2f} s")
    print(f"  processor time of the supervisor until then: {min(used) * 1000:.0f} ms at best")


def bench_status(project: Path, rounds: int) -> None:
    """The reference imports exactly the modules that `status` has loaded at its end, and does nothing."""
    listing = subprocess.run(
        [sys.executable, "-P", "-c", WHAT_STATUS_LOADS], cwd=project, capture_output=True, text=True, check=True
    )
    modules = [name for name in json.loads(listing.stdout) if "." not in name or name.startswith(THEIRS)]
    statement = f"from importlib import import_module\nfor name in {modules!r}: import_module(name)"
    imports, ours = [], []
    for _ in range(rounds * 2):
        imports.append(seconds(lambda: run([sys.executable, "-P", "-c", statement])))
        ours.append(seconds(lambda: toombos(project, "status")))
    report("status", ours, "importing what it needs", imports, "at most 1.3")


def bench_crash(project: Path, rounds: int) -> None:
    times = []
    state = project / "run" / "state.json"
    for _ in range(rounds):
        pid = next(row["pid"] for row in status(project) if row["name"] == "crm")
        began = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        while json.loads(state.read_bytes())["services"]["crm"]["pid"] == pid:
            time.sleep(0.0005)
        times.append(time.perf_counter() - began)
        wait_for(
            lambda: json.loads(state.read_bytes())["services"]["crm"]["phase"] in ("ready", "crash-loop"), within_s=60
        )
        toombos(project, "restart", "crm")  # the next crash counts as the first again
    print(f"crash noted after {statistics.median(times) * 1000:.1f} ms, worst {max(times) * 1000:.1f} ms (under 100)")


def idle(project: Path, watched_s: float) -> tuple[float, int]:
    """Return the CPU of an idle supervisor in percent of a core, and its memory in bytes."""
    pid = supervisor_of(project)
    time.sleep(_SETTLED_S)
    before = cpu_s(pid)
    time.sleep(watched_s)
    return 100 * (cpu_s(pid) - before) / watched_s, processes.process_table()[pid].rss_bytes


def bench_many(directory: Path, rounds: int, watched_s: float) -> None:
    """Measure systems of workers, which are not probed, and of small HTTP servers."""
    for count, goal in ((3, "at most 0.05"), (50, "at most 0.2"), (100, "-")):
        project = many(directory / f"workers{count}", count, http=False)
        toombos(project, "start")
        try:
            percent, _ = idle(project, watched_s)
        finally:
            toombos(project, "stop")
        print(f"idle, {count} workers: {percent:.3f} % of a core (goal: {goal})")
    for what, count, goal in (("workers", 50, 0.4), ("workers", 100, 0.8), ("HTTP services", 50, 0.6)):
        project = many(directory / f"stop-{what[:4]}{count}", count, http=what != "workers")
        times = []
        for _ in range(rounds):
            toombos(project, "start")
            times.append(seconds(lambda project=project: toombos(project, "stop")))
        print(f"stop, {count} {what}: {statistics.median(times):.2f} s (goal: at most {goal})")


def many(project: Path, count: int, *, http: bool) -> Path:
    """Write a project of so many services and return it."""
    project.mkdir()
    lines = [f'name = "{project.name}"']
    for n in range(count):
        port = free_port()
        asked = f"port = {port}" if http else 'scheme = "none"'
        command = ["{python}", "-I", "-S", "-c", _SERVER, str(port)] if http else ["sleep", "86400"]
        lines += [f"[services.s{n}]", f"command = {json.dumps(command)}", asked]
    (project / "toombos.toml").write_text("\n".join(lines) + "\n")
    return project


def supervisor_of(project: Path) -> int:
    return int(json.loads((project / "run" / "state.json").read_bytes())["supervisor_pid"])


def cpu_s(pid: int) -> float:
    return processes.cpu_time_s(processes.process_table((pid,))[pid])


def bare_start(project: Path, ports: dict[str, int], reached: Callable[[int], bool], *, mode: str | None) -> float:
    """Return the seconds from the first spawn until all have `reached` it, started as in the manifest."""
    plans = build_plan(load_manifest(project), mode=mode).services
    began = time.perf_counter()
    children = [
        subprocess.Popen(
            plans[name].service.command,
            cwd=project,
            env=plans[name].environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name in NAMES
    ]
    wait_for(lambda: all(reached(port) for port in ports.values()), within_s=60)
    elapsed = time.perf_counter() - began
    for child in children:
        child.terminate()
    for child in children:
        child.wait()
    return elapsed


def status(project: Path) -> list[dict[str, object]]:
    done = subprocess.run((*TOOMBOS, "status", "--json"), cwd=project, capture_output=True, text=True, check=False)
    rows: list[dict[str, object]] = data_of(done)["services"]
    return rows


def toombos(project: Path, *args: str) -> None:
    run([*TOOMBOS, *args], cwd=project)


def run(argv: list[str], cwd: Path | None = None) -> None:
    subprocess.run(argv, cwd=cwd, check=True, stdout=subprocess.DEVNULL)


def seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def report(what: str, ours: list[float], reference: str, theirs: list[float], goal: str) -> None:
    mine, other = statistics.median(ours), statistics.median(theirs)
    print(f"{what}: {mine:.3f} s; {reference}: {other:.3f} s; ratio {mine / other:.2f} (goal: {goal})")


if __name__ == "__main__":
    main()
