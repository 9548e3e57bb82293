"""Building blocks of load tests: a server with known behaviour, a plan against it, and figures of the report."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toombos_cli.load.build_report import build_report
from toombos_cli.load.engine.pacer import RampStage
from toombos_cli.load.engine.recorder import EngineResult
from toombos_cli.load.engine.request_bytes import build_endpoint
from toombos_cli.load.plan import LoadPlan, LoadRequest, LoadTarget
from toombos_cli.load.report import LoadReport


@dataclass
class LoadServer:
    """A running tests/support/load_server.py. Its counts are available once it is stopped."""

    port: int
    process: subprocess.Popen[str]
    requests: int = 0
    held_ms: list[float] = field(default_factory=list)
    answered_ns: list[int] = field(default_factory=list)

    def stop(self) -> None:
        """Stop the server and read its counts."""
        if self.process.poll() is None:
            self.process.terminate()
            text, _ = self.process.communicate(timeout=20)
            counted = json.loads(text)
            self.requests, self.held_ms = counted["requests"], counted["held_ms"]
            self.answered_ns = counted["answered_ns"]


@contextlib.contextmanager
def load_server(behaviour: str, *, backlog: int = 4096, port: int = 0) -> Iterator[LoadServer]:
    """Run a server with a behaviour of tests/support/load_server.py, on a free port unless one is given."""
    program = Path(__file__).with_name("load_server.py")
    argv = [sys.executable, str(program), behaviour, str(backlog), str(port)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield (server := LoadServer(int(process.stdout.readline()), process))
            server.stop()
        finally:
            process.kill()


def endpoint(port: int, *, method: str = "GET", path: str = "/", name: str = "GET /", **more: Any) -> LoadRequest:
    """Return one kind of request to a local port."""
    return build_endpoint(target_at(port), name=name, method=method, path=path, **more)


def target_at(port: int, *, scheme: str = "http") -> LoadTarget:
    """Return 127.0.0.1 as a target whose certificate is not checked."""
    return LoadTarget(
        url=f"{scheme}://127.0.0.1:{port}/",
        scheme="https" if scheme == "https" else "http",
        host="localhost" if scheme == "https" else "127.0.0.1",
        port=port,
        address="127.0.0.1",
        verify_tls=False,
    )


def plan_for(port: int, *, method: str = "GET", scheme: str = "http", **settings: Any) -> LoadPlan:
    """Return a plan against 127.0.0.1, with a timeout of 10 s unless the settings say otherwise."""
    keepalive = settings.get("keepalive", True)
    chosen = {"endpoints": (endpoint(port, method=method, keepalive=keepalive),), "timeout_s": 10.0, "drain_s": 10.0}
    return LoadPlan(target=target_at(port, scheme=scheme), **(chosen | settings))


def at_rate(rps: float, duration_s: float) -> dict[str, Any]:
    """Return the settings of an open loop at a constant rate."""
    return {"stages": (RampStage(duration_s=duration_s, start_rps=rps, end_rps=rps),)}


def report_of(plan: LoadPlan, outcome: EngineResult) -> LoadReport:
    """Return the report as users see it, after checking that its counts add up."""
    report = build_report(plan, outcome, argv=())
    counts = report.counts
    parts = counts.ok + counts.http_error + counts.transport_error + counts.censored + counts.dropped
    assert counts.scheduled == parts
    assert sum(point.sent for point in report.series) == counts.scheduled - counts.dropped
    assert sum(point.ok for point in report.series) == counts.ok
    assert sum(point.err for point in report.series) == counts.scheduled - counts.ok - counts.dropped
    for found in report.endpoints.values() if len(report.endpoints) > 1 else ():
        assert sum(point.ok for point in found.series) == found.counts.ok
        assert sum(point.err for point in found.series) == found.counts.scheduled - found.counts.ok
    return report


def errors_of(report: LoadReport) -> dict[tuple[str, str], int]:
    """Return how often each (class, phase) happened."""
    found: dict[tuple[str, str], int] = {}
    for group in report.errors:
        key = (group["class"], group["phase"])
        found[key] = found.get(key, 0) + group["count"]
    return found
