"""The options of a load test, as typed on the command line."""

from dataclasses import dataclass
from pathlib import Path

from toombos_cli.load.engine.pacer import Arrival


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """The options of a load test, not yet parsed; None means not given."""

    url: str | None = None
    requests: int | None = None
    connections: int | None = None
    rate: float | None = None
    duration: str | None = None
    stages: str | None = None
    arrival: Arrival = "constant"
    warmup: str | None = None
    timeout: str | None = None
    drain: str | None = None
    keepalive: bool = True
    retry_stale: bool = True
    max_connections: int | None = None
    processes: int = 1
    locust_workers: int | None = None
    locust_master: str | None = None
    method: str | None = None
    payload: Path | None = None
    data: str | None = None
    content_type: str | None = None
    headers: list[str] | None = None
    scenario: Path | None = None
    expect_status: str | None = None
    follow_redirects: bool = False
    cookies: bool = False
    allow_target: list[str] | None = None
    insecure: bool = False
    slo: str | None = None
    abort_on_fail: bool = False
    baseline: Path | None = None
    save_baseline: Path | None = None
