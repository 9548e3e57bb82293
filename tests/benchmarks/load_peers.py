"""What `toombos load`, wrk, ab, autocannon and Locust say about the same server, beside what the server has counted.

    python tests/benchmarks/load_peers.py [--rounds 3] [--autocannon PATH]

The first table compares rates and percentiles on a server that takes 20 ms; they should agree. The second has what each
says of a server that stalls, hangs, closes connections without a word or sends interim responses, and of a machine
without free ports (as root, in a network namespace). A tool that is not installed is left out.
"""

import argparse
import csv
import importlib.util
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.loading import LoadServer, load_server
from tests.support.runner import data_of, run_toombos

TIMEOUT_S = 2
LONGEST_S = 30
LOCUSTFILE = """
from locust import FastHttpUser, task

class Visitor(FastHttpUser):
    network_timeout = connection_timeout = {timeout}

    @task
    def get(self):
        self.client.get("/")
"""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a tool reports; times are in milliseconds, and None is what it does not report."""

    ok: int | None = None
    failed: int | None = None
    rate: float | None = None
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    more: str = ""

    def __str__(self) -> str:
        parts = [] if self.ok is None else [f"{self.ok} ok"]
        parts += [] if self.failed is None else [f"{self.failed} failed"]
        parts += [f"{self.rate:.0f}/s"] if self.rate is not None else []
        parts += [f"p99 {self.p99:.0f} ms"] if self.p99 is not None else []
        return ", ".join([*parts, *([self.more] if self.more else [])])


Tool = Callable[[str, int, float], Said]
"""Loads a URL over so many connections for so many seconds."""


def run(*argv: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=LONGEST_S, check=False)


def toombos(url: str, connections: int, seconds: float, *more: str) -> Said:
    how = more or ("-c", str(connections), "--duration", f"{seconds:g}s")
    done = run_toombos("--json", "load", url, *how, "--timeout", f"{TIMEOUT_S}s", timeout_s=120)
    data = data_of(done)
    counts, found = data["counts"], data["latency_us"]["response"]
    p50, p90, p99 = (None if found[name] is None else found[name] / 1000 for name in ("p50", "p90", "p99"))
    errors: dict[str, int] = {}
    for group in data["errors"]:
        errors[group["class"]] = errors.get(group["class"], 0) + group["count"]
    notes = [f"{count} {name}" for name, count in errors.items()]
    notes += [f"{counts['retried']} sent again"] if counts["retried"] else []
    return Said(
        ok=counts["ok"],
        failed=counts["scheduled"] - counts["ok"],
        rate=data["throughput_rps"],
        p50=p50,
        p90=p90,
        p99=p99,
        more=", ".join([*notes, f"exit {done.returncode}"]),
    )


def toombos_at_a_rate(url: str, connections: int, seconds: float) -> Said:
    return toombos(url, connections, seconds, "--rate", "200", "--duration", f"{seconds:g}s")


def wrk(url: str, connections: int, seconds: float) -> Said:
    argv = ("wrk", "-t1", f"-c{connections}", f"-d{seconds:g}", "--timeout", TIMEOUT_S, "--latency", url)
    done = run(*argv)
    text = done.stdout

    def ms(pattern: str) -> float | None:
        found = re.search(pattern + r"\s+([\d.]+)(us|ms|s)", text)
        return float(found[1]) * {"us": 0.001, "ms": 1, "s": 1000}[found[2]] if found else None

    answered = int((re.findall(r"(\d+) requests in", text) or ["0"])[0])
    errors = {name: int(n) for name, n in re.findall(r"(connect|read|write|timeout) (\d+)", text) if int(n)}
    others = sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
    notes = [f"{count} {name}" for name, count in errors.items()] + ([f"{others} not 2xx"] if others else [])
    return Said(
        ok=answered - others,
        failed=sum(errors.values()) + others,
        rate=float((re.findall(r"Requests/sec:\s+(\S+)", text) or ["0"])[0]),
        p50=ms(r"50%"),
        p90=ms(r"90%"),
        p99=ms(r"99%"),
        more=", ".join([*notes, f"exit {done.returncode}"]),
    )


def ab(url: str, connections: int, seconds: float) -> Said:
    with tempfile.TemporaryDirectory() as directory:
        table = Path(directory) / "percentiles.csv"
        limits = ("-t", f"{seconds:g}", "-n", 1_000_000, "-s", TIMEOUT_S)
        done = run("ab", "-q", "-k", *limits, "-c", connections, "-e", table, url)
        rows = list(csv.reader(table.open()))[1:] if table.exists() else []
    at = {int(percent): float(ms) for percent, ms in rows}
    if not at:
        return Said(more=f"gives up: {(done.stderr.strip().splitlines() or ['?'])[-1]}")

    def number(label: str) -> float:
        return float((re.findall(rf"{label}:\s+([\d.]+)", done.stdout) or ["0"])[0])

    failed = int(number("Failed requests") + number("Non-2xx responses"))
    return Said(
        ok=int(number("Complete requests")) - failed,
        failed=failed,
        rate=number("Requests per second"),
        p50=at[50],
        p90=at[90],
        p99=at[99],
        more=f"exit {done.returncode}",
    )


def autocannon_at(program: str) -> Tool:
    def autocannon(url: str, connections: int, seconds: float) -> Said:
        argv = (program, "-c", connections, "-d", f"{seconds:g}", "-t", TIMEOUT_S, "-j", url)
        done = run(*argv)
        data = json.loads(done.stdout)
        latency, notes = (
            data["latency"],
            [f"{data[n]} {n}" for n in ("errors", "timeouts", "non2xx", "resets") if data.get(n)],
        )
        return Said(
            ok=data["2xx"],
            failed=data["errors"] + data["non2xx"],
            rate=data["2xx"] / data["duration"],
            p50=latency["p50"],
            p90=latency["p90"],
            p99=latency["p99"],
            more=", ".join([*notes, f"exit {done.returncode}"]),
        )

    return autocannon


def locust(url: str, connections: int, seconds: float) -> Said:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "locustfile.py"
        file.write_text(LOCUSTFILE.format(timeout=float(TIMEOUT_S)))
        size = ("-u", connections, "-r", connections, "-t", f"{seconds:g}s")
        done = run(sys.executable, "-m", "locust", "-f", file, "--headless", *size, "--json", "--host", url.rstrip("/"))
    found: list[dict[str, Any]] = json.loads(done.stdout[done.stdout.index("[") :])
    if not found:
        return Said(ok=0, failed=0, more=f"exit {done.returncode}")
    (row,) = found
    times = sorted((float(ms), count) for ms, count in row["response_times"].items())

    def at(percent: float) -> float:
        rank, seen = percent / 100 * sum(count for _, count in times), 0
        for ms, count in times:
            seen += count
            if seen >= rank:
                return ms
        return times[-1][0]

    span = max(row["last_request_timestamp"] - row["start_time"], 1e-3)
    return Said(
        ok=row["num_requests"] - row["num_failures"],
        failed=row["num_failures"],
        rate=row["num_requests"] / span,
        p50=at(50),
        p90=at(90),
        p99=at(99),
        more=f"exit {done.returncode}",
    )


def said_by(tool: Tool, url: str, connections: int, seconds: float) -> Said:
    try:
        return tool(url, connections, seconds)
    except subprocess.TimeoutExpired:
        return Said(more=f"had not ended after {LONGEST_S} s")


def truth(server: LoadServer) -> Said:
    """Return what the server counted, how long it held each request, and its longest pause."""
    held, answered = sorted(server.held_ms), server.answered_ns
    if len(held) < 2:
        return Said(ok=len(held))
    p50, p90, p99 = (held[min(len(held) - 1, int(len(held) * share))] for share in (0.5, 0.9, 0.99))
    pause_ms = max((after - before) / 1e6 for before, after in pairwise(answered))
    notes = [f"{server.requests - len(held)} not answered"] if server.requests > len(held) else []
    notes += [f"a pause of {pause_ms:.0f} ms"] if pause_ms > 500 else []
    return Said(
        ok=len(held),
        rate=(len(held) - 1) / ((answered[-1] - answered[0]) / 1e9),
        p50=p50,
        p90=p90,
        p99=p99,
        more=", ".join(notes),
    )


def agreement(tools: dict[str, Tool], rounds: int) -> None:
    """Print rates and percentiles on a server that takes 20 ms, and how far they are from those of the server."""
    print(f"\n20 ms server, 8 connections, 5 s, medians of {rounds} rounds (difference from the server's own)\n")
    print("| | requests/s | p50 ms | p90 ms | p99 ms |\n|---|---|---|---|---|")
    found: dict[str, list[tuple[Said, Said]]] = {name: [] for name in tools}
    for _ in range(rounds):
        for name, tool in tools.items():
            with load_server("fixed:20") as server:
                said = tool(f"http://127.0.0.1:{server.port}/", 8, 5)
                server.stop()
            found[name].append((said, truth(server)))
    for name, pairs in found.items():
        cells = []
        for figure in ("rate", "p50", "p90", "p99"):
            theirs = statistics.median(getattr(said, figure) for said, _ in pairs)
            ratio = statistics.median(getattr(said, figure) / getattr(true, figure) for said, true in pairs)
            cells.append(f"{theirs:.2f} ({ratio - 1:+.1%})")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


SITUATIONS: dict[str, tuple[str, int, float]] = {
    "20 ms, and a stall of 1 s": ("stall:20:2:1", 4, 5),
    "every 400th request hangs": ("hang:20:400", 8, 5),
    "connections close without a word": ("silent:5", 4, 3),
    "a 103 before each response": ("hints:5", 4, 3),
}


def situations(tools: dict[str, Tool]) -> None:
    """Print what each tool says of servers that misbehave."""
    print("\n| | tool | it says | the server counted |\n|---|---|---|---|")
    for name, (behaviour, connections, seconds) in SITUATIONS.items():
        used = tools | ({"toombos --rate 200": toombos_at_a_rate} if behaviour.startswith(("stall", "hang")) else {})
        for tool, use in used.items():
            with load_server(behaviour) as server:
                said = said_by(use, f"http://127.0.0.1:{server.port}/", connections, seconds)
                server.stop()
            print(f"| {name} | {tool} | {said} | {truth(server)} |", flush=True)


def without_ports(name: str, use: Tool) -> None:
    """Print what a tool says with 100 connections and 50 local ports."""
    with load_server("fixed:20", port=30_000) as server:
        said = said_by(use, "http://127.0.0.1:30000/", 100, 3)
        server.stop()
    print(f"| 50 local ports, 100 connections | {name} | {said} | {truth(server)} |")


def installed(autocannon: str) -> dict[str, Tool]:
    """Return the tools of this machine, and print their versions."""
    tools: dict[str, Tool] = {"toombos": toombos}
    versions = [run_toombos("--version").stdout.strip()]
    if shutil.which("wrk"):
        tools["wrk"] = wrk
        versions.append(" ".join(run("wrk", "-v").stdout.split()[:2]))
    if shutil.which("ab"):
        tools["ab"] = ab
        versions.append("ab " + " ".join(re.findall(r"Version (\S+)", run("ab", "-V").stdout)))
    if shutil.which(autocannon):
        tools["autocannon"] = autocannon_at(autocannon)
        versions.append(
            f"{run(autocannon, '--version').stdout.splitlines()[0]}, node {run('node', '-v').stdout.strip()}"
        )
    if importlib.util.find_spec("locust"):
        tools["Locust"] = locust
        versions.append(run(sys.executable, "-m", "locust", "--version").stdout.strip().partition(" from")[0])
    print("; ".join(versions))
    return tools


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="0 leaves the first table out")
    parser.add_argument(
        "--autocannon", default="autocannon", metavar="PATH", help="as `npm install autocannon` puts it"
    )
    parser.add_argument("--without-ports", metavar="TOOL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    tools = installed(options.autocannon)
    if options.without_ports:
        without_ports(options.without_ports, tools[options.without_ports])
        return
    if options.rounds:
        agreement(tools, options.rounds)
    situations(tools)
    if os.geteuid() == 0 and shutil.which("unshare"):
        prepare = "ip link set lo up && sysctl -q -w net.ipv4.ip_local_port_range='40000 40049' && exec \"$@\""
        for name in tools:
            own = (sys.executable, __file__, "--autocannon", options.autocannon, "--without-ports", name)
            done = subprocess.run(
                ["unshare", "--net", "sh", "-c", prepare, "sh", *own], capture_output=True, text=True, check=False
            )
            print("".join(line for line in done.stdout.splitlines(True) if line.startswith("|")) or done.stderr, end="")


if __name__ == "__main__":
    main()
