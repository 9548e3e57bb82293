"""The cost of the services over a minimal FastAPI route: throughput ratios at concurrency 10, and memory.

    python tests/benchmarks/services_vs_bare.py [--seconds 3] [--rounds 7]

The reference is a FastAPI app with one route: a request model with the same fields, the same body sent to it, a small
JSON model (100 bytes) as its response, written the way FastAPI writes it. It has no logs, metrics, request ids, limits,
keys or stores, and runs with the same uvicorn settings in a separate process. Anything a service sends beyond the
small JSON is part of its cost: every preview request sends 38 kB in full and writes to the history.

Rounds alternate between the two so that a busy machine slows both; the ratio is the median of the rounds' ratios.
The ratio of the servers' CPU times (all threads, user and system) is more reliable on a shared machine.
`wrk` generates the load if it is installed, otherwise threads with sockets. To measure another route, add an `Arm`.
"""

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.ports import free_port

CONCURRENCY = 10

SEND_FIELDS = """
    subject: str
    html_content: str
    text_content: str | None = None
    recipients: list[str] | None = None
    campaign_id: str | None = None
    sender_email: str | None = None
    metadata: dict[str, JsonValue] | None = None
"""
PUBLISH_FIELDS = """
    title: str
    content: str
    content_type: Literal["web_update", "blog_post", "newsletter", "social_post"] = "web_update"
    metadata: dict[str, JsonValue] | None = None
    tags: list[str] | None = None
    publish_immediately: bool = True
    scheduled_at: datetime | None = None
"""
GENERATE_FIELDS = """
    send_email: bool = True
    publish_web: bool = True
    generate_social: bool = True
    preview_only: bool = False
    include_preview: bool = True
    force_refresh: bool = False
    tone: Literal["professional", "encouraging", "medical_scientific"] = "professional"
    per_channel_tones: dict[str, str] | None = None
"""
BARE = """
import sys
from datetime import UTC, datetime
from typing import Literal
from fastapi import FastAPI
from pydantic import BaseModel, JsonValue
from uvicorn.server import Server
from services.common.server import uvicorn_config

class Body(BaseModel):
{fields}
class Answer(BaseModel):
    id: str
    status: str
    count: int
    timestamp: datetime
    other: str | None

app = FastAPI()

@app.post("{path}")
async def route(body: Body) -> Answer:
    return Answer(id="msg_0123456789", status="sent", count=100, timestamp=datetime.now(UTC), other=None)

config = uvicorn_config(app, shutdown_grace_s=1)
config.host, config.port = "127.0.0.1", int(sys.argv[1])
Server(config).run()
"""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One route of one service, and the fields of the reference's request model (Python source)."""

    name: str
    service: str
    path: str
    body: dict[str, Any]
    fields: str
    goal: float
    env: dict[str, str] = field(default_factory=dict)


ARMS = (
    Arm(
        name="crm send",
        service="crm",
        path="/api/v1/email/send",
        body={"subject": "News", "html_content": "<p>Hello</p>" * 20, "recipients": ["a@example.org"]},
        fields=SEND_FIELDS,
        goal=0.7,
    ),
    Arm(
        name="platform publish",
        service="platform",
        path="/api/v1/content/publish",
        body={"title": "News", "content": "<p>Hello</p>" * 20, "tags": ["a", "b"]},
        fields=PUBLISH_FIELDS,
        goal=0.7,
    ),
    Arm(
        name="generator preview",
        service="generator",
        path="/api/v2/generate-content",
        body={"preview_only": True, "send_email": False, "publish_web": False},
        fields=GENERATE_FIELDS,
        goal=0.5,
        env={"DRY_RUN_MODE": "true"},
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", metavar="TEXT", help="arms whose name holds this text")
    options = parser.parse_args()
    arms = [arm for arm in ARMS if options.only in arm.name]
    reached = [measure(arm, seconds=options.seconds, rounds=options.rounds) for arm in arms]
    return 0 if all(reached) else 1


def measure(arm: Arm, *, seconds: int, rounds: int) -> bool:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bare_script = directory / "bare.py"
        bare_script.write_text(BARE.format(fields=arm.fields, path=arm.path))
        bare_port, port = free_port(), free_port()
        bare = stack.enter_context(_server([str(bare_script), str(bare_port)], {}, directory, bare_port))
        module = ["-P", "-m", f"services.{arm.service}"]
        service = stack.enter_context(_server(module, {"PORT": str(port), **arm.env}, directory, port))
        idle_mib = _rss_mib(service)

        def round_of(process: psutil.Process, target: int, duration_s: float) -> tuple[float, float]:
            """Return requests per second, and requests per second of the server's CPU time."""
            before_s = sum(process.cpu_times()[:2])
            rate = drive(f"http://127.0.0.1:{target}{arm.path}", arm.body, duration_s, directory)
            return rate, rate * duration_s / (sum(process.cpu_times()[:2]) - before_s)

        drive = _wrk if shutil.which("wrk") else _threads
        for process, target in ((bare, bare_port), (service, port)):
            round_of(process, target, 1)
        ratios, cpu_ratios = [], []
        for _ in range(rounds):
            bare_rate, bare_cpu_rate = round_of(bare, bare_port, seconds)
            rate, cpu_rate = round_of(service, port, seconds)
            ratios.append(rate / bare_rate)
            cpu_ratios.append(cpu_rate / bare_cpu_rate)
            print(f"  {arm.name}: bare {bare_rate:6.0f}/s  service {rate:6.0f}/s  ratio {ratios[-1]:.2f}")
        ratio, cpu_ratio = statistics.median(ratios), statistics.median(cpu_ratios)
        rss_mib = _rss_mib(service)
        met = ratio >= arm.goal and rss_mib < 100
        print(
            f"{arm.name}: throughput ratio {ratio:.2f} (goal >= {arm.goal}), by CPU time {cpu_ratio:.2f}; memory "
            f"{idle_mib:.0f} MiB at start, {rss_mib:.0f} MiB after (goal < 100): {'met' if met else 'MISSED'}"
        )
        return met


@contextmanager
def _server(arguments: list[str], env: dict[str, str], directory: Path, port: int) -> Iterator[psutil.Process]:
    with (directory / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=directory, env=os.environ | env, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 30
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{arguments} did not start:\n{(directory / f'{port}.log').read_text()}")
            time.sleep(0.05)
        urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=30).close()
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def _wrk(url: str, body: dict[str, Any], seconds: float, directory: Path) -> float:
    """Return requests per second; end the benchmark if a response was not 2xx."""
    script = directory / "post.lua"
    payload = json.dumps(body).replace("\\", "\\\\").replace("'", "\\'")
    script.write_text(
        f"wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.body = '{payload}'\n"
    )
    command = ["wrk", "-t1", f"-c{CONCURRENCY}", f"-d{seconds:.0f}s", "-s", str(script), url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if rate is None or "Non-2xx" in output:
        sys.exit(output)
    return float(rate[1])


def _threads(url: str, body: dict[str, Any], seconds: float, _: Path) -> float:
    """Return requests per second from ten threads, each with its own connection."""
    host, port, path = re.fullmatch(r"http://([^:]+):(\d+)(.*)", url).groups()  # type: ignore[union-attr]  # our URL
    payload = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}"
    request = head.encode() + b"\r\n\r\n" + payload
    counts: list[int] = []
    deadline = time.monotonic() + seconds

    def drive() -> None:
        count = 0
        with socket.create_connection((host, int(port))) as client, client.makefile("rb") as answers:
            while time.monotonic() < deadline:
                client.sendall(request)
                status = answers.readline()
                length = 0
                while (line := answers.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                answers.read(length)
                if not status.startswith(b"HTTP/1.1 2"):
                    os._exit(1)
                count += 1
        counts.append(count)

    threads = [threading.Thread(target=drive) for _ in range(CONCURRENCY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _rss_mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss / 1024**2)


if __name__ == "__main__":
    sys.exit(main())
