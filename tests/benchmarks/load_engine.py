"""`toombos load` compared with wrk and ab, in alternation, on one nginx; and its memory over millions of requests.

    python tests/benchmarks/load_engine.py [--pairs 5] [--requests 100000] [--millions 5]

Prints medians and ratios: throughput for a constant response at 10 and 100 connections, the same for a scenario with
data, checks and captures, throughput and median latency for a server that responds after 5 ms (where all three must
agree), CPU per request, and peak memory.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.loading import load_server
from tests.support.ports import free_port
from tests.support.runner import TOOMBOS, data_of, run_toombos
from tests.support.waiting import wait_for

BODY = '{"preview_only": true, "send_email": false, "publish_web": false}'
SCENARIO = """
[data.people]
file = "people.csv"

[[user]]
name = "buyer"

[[user.step]]
path = "/login"
json = { name = "${people.name}", key = "${uuid}" }
expect = { status = 200, json = { status = "preview" } }
capture = { token = "status" }

[[user.step]]
path = "/items/${counter}"
headers = { Authorization = "Bearer ${token}" }
expect = { status = 200, json = { status = "preview" } }
"""
CONFIGURATION = """worker_processes 1; daemon off; pid {d}/pid; error_log {d}/errors;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {d}/b; proxy_temp_path {d}/x;
  fastcgi_temp_path {d}/f; uwsgi_temp_path {d}/u; scgi_temp_path {d}/s;
  server {{ listen 127.0.0.1:{port} backlog=4096; default_type application/json;
    location / {{ return 200 '{{"status":"preview","published_to":[]}}'; }} }} }}
"""


@contextlib.contextmanager
def nginx(directory: Path) -> Iterator[str]:
    """Yield the URL of an nginx that sends the same response to every request."""
    port = free_port()
    (directory / "nginx.conf").write_text(CONFIGURATION.format(d=directory, port=port))
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or sys.exit("nginx is not installed")
    with subprocess.Popen([program, "-c", str(directory / "nginx.conf")], stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: (directory / "pid").exists() and (directory / "pid").read_text(), what="nginx")
        yield f"http://127.0.0.1:{port}/"
        process.send_signal(signal.SIGQUIT)


def run(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=600, check=True).stdout


def toombos(url: str, *args: str) -> dict[str, Any]:
    """Return the data of one run; a generator that reports saturation (exit 4) is measured as well."""
    return data_of(run_toombos("--json", "load", url, *args, timeout_s=600))


def throughput(url: str, directory: Path, *, connections: int, pairs: int, requests: int) -> None:
    payload, script = directory / "payload.json", directory / "wrk.lua"
    payload.write_text(BODY)
    script.write_text(f'wrk.method="POST"; wrk.body=[[{BODY}]]; wrk.headers["Content-Type"]="application/json"')
    rates: dict[str, list[float]] = {"toombos": [], "wrk": [], "ab": []}
    costs = []
    how_many = ("-n", str(requests), "-c", str(connections), "-p", str(payload), "-T", "application/json")
    for _ in range(pairs):
        data = toombos(url, "-m", "POST", *how_many)
        assert data["counts"]["ok"] == requests
        rates["toombos"].append(data["throughput_rps"])
        costs.append(data["generator"]["cpu_us_per_request"])
        text = run("wrk", "-t1", f"-c{connections}", "-d2", "-s", str(script), url)
        rates["wrk"].append(float(re.findall(r"Requests/sec:\s+(\S+)", text)[0]))
        text = run("ab", "-q", "-k", *how_many, url)
        rates["ab"].append(float(re.findall(r"Requests per second:\s+(\S+)", text)[0]))
    ratios = {
        peer: statistics.median(t / other for t, other in zip(rates["toombos"], rates[peer], strict=True))
        for peer in ("wrk", "ab")
    }
    shown = ", ".join(f"{name} {statistics.median(values):.0f}" for name, values in rates.items())
    print(f"c={connections}: {shown} requests/s; toombos/wrk {ratios['wrk']:.2f}, toombos/ab {ratios['ab']:.2f}")
    print(f"c={connections}: toombos used {statistics.median(costs):.1f} µs of CPU a request")


def scenario(url: str, directory: Path, *, pairs: int, requests: int) -> None:
    """Compare users with data, checks and captures with wrk, which sends the same request again and again."""
    file = directory / "mix.toml"
    file.write_text(SCENARIO)
    (directory / "people.csv").write_text("name\n" + "".join(f"N{number}\n" for number in range(1000)))
    rates: list[float] = []
    costs = []
    for _ in range(pairs):
        data = toombos(url, "--scenario", str(file), "-n", str(requests), "-c", "10")
        assert data["counts"]["ok"] == requests
        costs.append(data["generator"]["cpu_us_per_request"])
        text = run("wrk", "-t1", "-c10", "-d2", url)
        rates.append(data["throughput_rps"] / float(re.findall(r"Requests/sec:\s+(\S+)", text)[0]))
    print(
        f"data, checks and captures: toombos/wrk {statistics.median(rates):.2f} ({min(rates):.2f} to {max(rates):.2f})"
    )
    print(f"data, checks and captures: {statistics.median(costs):.1f} µs of CPU a request, at least {min(costs):.1f}")


def agreement() -> None:
    """Compare all three where the server takes the time: they must measure the same."""
    with load_server("fixed:5") as server:
        url = f"http://127.0.0.1:{server.port}/"
        data = toombos(url, "-c", "8", "--duration", "4s")
        wrk = run("wrk", "-t1", "-c8", "-d4", "--latency", url)
        ab = run("ab", "-q", "-k", "-n", "5000", "-c", "8", url)
    rate = float(re.findall(r"Requests/sec:\s+(\S+)", wrk)[0])
    value, unit = re.findall(r"50%\s+([\d.]+)(us|ms)", wrk)[0]
    wrk_p50_ms = float(value) / (1000 if unit == "us" else 1)
    ab_p50_ms = float(re.findall(r"50%\s+(\d+)", ab)[0])
    p50_ms = data["latency_us"]["response"]["p50"] / 1000
    print(
        f"5 ms server, c=8: toombos/wrk {data['throughput_rps'] / rate:.3f} in throughput; p50 "
        f"{p50_ms:.2f} ms, wrk {wrk_p50_ms:.2f} ms, ab {ab_p50_ms:.0f} ms"
    )


def memory(url: str, millions: int) -> None:
    """Compare the peak memory of a run of that many million requests with that of a tenth of them."""
    peaks = []
    for requests in (millions * 100_000, millions * 1_000_000):
        argv = [*TOOMBOS, "load", url, "-n", str(requests), "-c", "50"]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = 0
        peaks.append(usage.ru_maxrss / 1024)
    short, long = peaks
    print(f"peak memory: {short:.0f} MB for {millions / 10:g} million requests, {long:.0f} MB for {millions} million")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--millions", type=int, default=5, help="0 leaves the memory out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, nginx(Path(name)) as url:
        for connections in (10, 100):
            throughput(url, Path(name), connections=connections, pairs=options.pairs, requests=options.requests)
        scenario(url, Path(name), pairs=options.pairs, requests=options.requests)
        agreement()
        if options.millions:
            memory(url, options.millions)


if __name__ == "__main__":
    main()
