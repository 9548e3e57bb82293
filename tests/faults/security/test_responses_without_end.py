"""A service that answers without end costs no command its memory, its time or its verdict on another service."""

import functools
import json
import socket
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.runner import begin_toombos
from tests.support.servers import Handler, read_request, serve

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_MOST_MB = 200
_SECONDS = 30
_PROJECT = """
extends = "monitoring"
name = "endless"
[services.bad]
command = ["bad"]
port = {bad}
ready = "/ready"
metrics = "/metrics"
openapi = "/openapi.json"
probe_timeout_s = 1
[services.well]
command = ["well"]
port = {well}
ready = "/ready"
metrics = "/metrics"
[load]
service = "bad"
[[smoke]]
name = "bad"
service = "bad"
path = "/ready"
json = {{ ready = true }}
[[smoke]]
name = "well"
service = "well"
path = "/ready"
json = {{ ready = true }}
"""


@functools.cache
def _bomb() -> bytes:
    """Return a gigabyte of open brackets, compressed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(b"[" * 1_048_576) for _ in range(1024)), packer.flush()])


def without_end(head: bytes, block: bytes, *, times: int | None = None) -> Handler:
    """Send `head`, then `block` again and again."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(head)
        sent = 0
        while times is None or sent < times:
            connection.sendall(block)
            sent += 1

    return handle


def gzip_bomb(connection: socket.socket) -> None:
    """Send a body of a megabyte that unpacks to a gigabyte."""
    body = _bomb()
    without_end(_OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body), body, times=1)(connection)


def well(connection: socket.socket) -> None:
    """Answer as a service that is well."""
    is_scrape = b" /metrics " in read_request(connection)
    body = b"app_info 1\n" if is_scrape else b'{"status": "healthy", "ready": true, "checks": []}'
    head = b"HTTP/1.1 200 OK\r\n" if is_scrape else _OK
    connection.sendall(head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
RESPONSES: dict[str, Handler] = {
    "headers without end": without_end(b"HTTP/1.1 200 OK\r\n", (b"X-1: " + b"y" * 1000 + b"\r\n") * 1000),
    "one header without end": without_end(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 1_000_000),
    "300 MB of headers": without_end(b"HTTP/1.1 200 OK\r\n", b"X-Abc: y\r\n" * 100_000, times=300),
    "a body without end": without_end(_OK + b"\r\n", b"[" * 1_000_000),
    "a chunked body without end": without_end(CHUNKED, b"100000\r\n" + b"[" * 0x100000 + b"\r\n"),
    "a gzip bomb": gzip_bomb,
}


@pytest.fixture(params=RESPONSES.values(), ids=RESPONSES)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A project with a service that answers without end, and one that is well."""
    with serve(request.param) as bad, serve(well) as other:
        (tmp_path / "toombos.toml").write_text(_PROJECT.format(bad=bad, well=other))
        yield tmp_path


def measured(process: "subprocess.Popen[str]") -> tuple[dict[str, Any], float]:
    """Return the data that the command prints, and the peak of the memory of each of its processes in MB."""
    output: list[str] = []
    reader = threading.Thread(target=lambda: output.append(process.communicate()[0]))
    reader.start()
    began, peak_mb = time.monotonic(), 0.0
    while reader.is_alive():
        if time.monotonic() - began > _SECONDS:
            process.kill()
            pytest.fail(f"it did not end within {_SECONDS} s")
        for one in _family(process.pid):
            peak_mb = max(peak_mb, _peak_mb(one))
        reader.join(0.05)
    data: dict[str, Any] = json.loads(output[0])["data"]
    return data, peak_mb


def _family(pid: int) -> list[int]:
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.Error:
        return []


def _peak_mb(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    _, found, rest = status.partition("VmHWM:")
    return int(rest.split()[0]) / 1024 if found else 0.0


def verdicts_in(data: dict[str, Any], command: str) -> list[str]:
    """Return the verdicts on the service that is well; only complaints have its name in a check of the monitoring."""
    if command == "health":
        return [row["verdict"] for row in data["services"] if row["name"] == "well"]
    if command == "smoke":
        return [step["verdict"] for step in data["steps"] if step["name"] in ("health-well", "well")]
    if command == "diagnose":
        return [f["verdict"] for f in data["findings"] if f["service"] == "well" and f["verdict"] != "skip"]
    if command == "monitoring check":
        return [item["verdict"] for item in data["items"] if "well" in item["name"].split(", ")] or ["pass"]
    return ["pass"]


@pytest.mark.parametrize(
    "command", ["health", "smoke", "load -n 4 -c 2 --timeout 2s", "monitoring check", "diagnose"], ids=str
)
def test_a_command_ends_in_time_with_little_memory_and_the_verdict_on_another_service(
    project: Path, command: str
) -> None:
    data, peak_mb = measured(begin_toombos(*command.split(), "--json", cwd=project))
    assert 0 < peak_mb < _MOST_MB
    assert set(verdicts_in(data, command)) == {"pass"}
