"""`start`, `--wait`, the supervisor, `health`, `smoke` and `diagnose` agree about one and the same response."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.runner import data_of, run_toombos
from tests.support.shaped_server import serve_shapes
from tests.support.waiting import wait_for
from tests.unit.probes.health_shapes import SHAPES
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.manifest.tables.expectations import ProbeSetting
from toombos_cli.project.ready_wait import is_service_ready
from toombos_cli.supervisor.readiness import Asker

VERDICTS = {"well": "pass", "starting": "fail", "degraded": "warn", "down": "fail"}
STATUSES = {"well": ("up",), "starting": ("starting",), "degraded": ("degraded",), "down": ("degraded", "down")}


@pytest.fixture(scope="module")
def shaped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with one service for each shape of response; all of them are served by one process."""
    project = tmp_path_factory.mktemp("shaped")
    with serve_shapes(SHAPES) as ports:
        tables = [
            f'[services.s{number}]\ncommand = ["unused"]\nport = {port}\nhealth = {json.dumps(shape.path)}\n'
            "probe_timeout_s = 30\nlatency_warn_ms = 60000\n"
            for number, (shape, port) in enumerate(zip(SHAPES, ports, strict=True))
        ]
        (project / "toombos.toml").write_text("".join(tables))
        yield project


def differing(found: dict[str, str], expected: dict[str, tuple[str, ...]]) -> list[str]:
    """Return a line for each shape whose verdict is another one than expected."""
    named = {f"s{number}": shape for number, shape in enumerate(SHAPES)}
    return [
        f"{named[name].name}: expected {' or '.join(wanted)}, got {found.get(name)}"
        for name, wanted in expected.items()
        if found.get(name) not in wanted
    ]


def wanted(values: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the expected value of each service."""
    listed = {f"s{number}": values[shape.expected] for number, shape in enumerate(SHAPES)}
    return {name: value if isinstance(value, tuple) else (value,) for name, value in listed.items()}


def test_health_says_of_each_shape_what_its_sender_means(shaped: Path):
    services = data_of(run_toombos("health", "--json", cwd=shaped, timeout_s=120))["services"]
    assert differing({s["name"]: s["verdict"] for s in services}, wanted(VERDICTS)) == []
    assert differing({s["name"]: s["status"] for s in services}, wanted(STATUSES)) == []


def test_smoke_says_of_each_shape_what_health_says(shaped: Path):
    steps = data_of(run_toombos("smoke", "--json", cwd=shaped, timeout_s=120))["steps"]
    found = {step["service"]: step["verdict"] for step in steps if step["name"].startswith("health")}
    assert differing(found, wanted(VERDICTS)) == []


class _Process:
    """What the questions need of a service's process: this one runs, and owns nothing."""

    is_suspended = False

    def __init__(self) -> None:
        self.tree = self

    def members(self) -> dict[int, Any]:
        """Return its processes."""
        return {}

    @staticmethod
    async def unless_ended(work: Coroutine[Any, Any, Any]) -> Any:
        return await work


def test_the_supervisor_and_wait_find_those_ready_that_are_well_or_degraded(shaped: Path):
    manifest = load_manifest(shaped)

    async def ask_all() -> dict[str, str]:
        found = {}
        for name, service in manifest.services.items():
            asker = Asker(service, ProbeSetting(), lambda child, ended: None)
            answer = await asker.ask("ready", _Process())  # type: ignore[arg-type]  # it stands in for a real one
            found[name] = str(answer.ok) if answer else ""
        return found

    ready = wanted({"well": "True", "degraded": "True", "starting": "False", "down": "False"})
    assert differing(asyncio.run(ask_all()), ready) == []
    waited = {name: str(is_service_ready(manifest, service)) for name, service in manifest.services.items()}
    assert differing(waited, ready) == []


_SERVER = """
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
body = Path(sys.argv[2])
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        sent = body.read_bytes()
        kind = "text/html" if sent.startswith(b"<") else "application/json"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)
    def log_message(self, *a): pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    """A project of one service that sends the content of `body`."""
    (tmp_path / "s.py").write_text(_SERVER)
    (tmp_path / "body").write_text('{"status": "ok"}')
    write(tmp_path)
    yield tmp_path
    run_toombos("stop", cwd=tmp_path)


def write(project: Path, keys: str = 'health = "/health"', *, port: int | None = None) -> None:
    """Write the manifest with these keys of the service."""
    before = (project / "port").read_text() if (project / "port").exists() else ""
    port = port or int(before or free_port())
    (project / "port").write_text(str(port))
    command = f'command = ["{sys.executable}", "s.py", "{{port}}", "body"]\nport = {port}\n'
    (project / "toombos.toml").write_text(
        f"[services.s]\n{command}startup_timeout_s = 30\nprobe_interval_s = 0.2\n{keys}\n"
    )


def test_start_waits_until_the_body_says_that_the_service_has_started(own: Path):
    (own / "body").write_text('{"status": "starting"}')
    late = 'b\'{"status":"ok"}\' if time.time() > BEGIN + 2 else body.read_bytes()'
    server = _SERVER.replace("body.read_bytes()", late).replace("body = Path", "BEGIN = time.time()\nbody = Path")
    (own / "s.py").write_text(server)
    began = time.monotonic()
    started = run_toombos("start", cwd=own)
    assert started.returncode == 0, started.stderr
    assert time.monotonic() - began > 2
    assert run_toombos("health", cwd=own).returncode == 0


BODIES = {
    "a denial": ('{"status": "DOWN"}', "says status 'down'"),
    "still starting": ('{"status": "starting"}', "says status 'starting'"),
    "a login page at every path": ("<html><form></form></html>", "health_answer = 'page' in [services.s]"),
}


@pytest.mark.parametrize(("body", "text"), BODIES.values(), ids=BODIES)
def test_a_service_that_is_never_ready_fails_the_start_with_what_its_body_says(own: Path, body: str, text: str):
    (own / "body").write_text(body)
    manifest = (own / "toombos.toml").read_text().replace("startup_timeout_s = 30", "startup_timeout_s = 1")
    (own / "toombos.toml").write_text(manifest)
    started = run_toombos("start", cwd=own)
    assert started.returncode == 4
    assert text in started.stderr


def test_a_degraded_service_is_ready_and_its_denial_makes_it_unhealthy(own: Path):
    (own / "body").write_text('{"status": "degraded"}')
    assert run_toombos("start", cwd=own).returncode == 0
    health = run_toombos("health", "--json", cwd=own)
    assert (health.returncode, data_of(health)["services"][0]["status"]) == (0, "degraded")
    (own / "body").write_text('{"healthy": false}')
    deadline = time.monotonic() + 20
    while (phase := data_of(run_toombos("status", "--json", cwd=own))["services"][0]["phase"]) != "unhealthy":
        assert time.monotonic() < deadline, phase
    assert run_toombos("health", cwd=own).returncode == 1


def test_a_web_front_end_is_ready_in_start_and_well_in_health(tmp_path: Path):
    port = free_port()
    (tmp_path / "index.html").write_text("<!doctype html><html><head><title>Shop</title></head></html>")
    (tmp_path / "toombos.toml").write_text(
        f'[services.web]\ncommand = ["{{python}}", "-m", "http.server", "{{port}}", "--bind", "127.0.0.1"]\n'
        f'port = {port}\nhealth = "/"\n'
    )
    try:
        assert run_toombos("start", cwd=tmp_path).returncode == 0
        for command in ("health", "smoke", "status"):
            done = run_toombos(command, cwd=tmp_path)
            assert done.returncode == 0, done.stdout + done.stderr
    finally:
        run_toombos("stop", cwd=tmp_path)


ELSEWHERE = {
    "another port": ("{other}", "127.0.0.1", "port = {other} in [services.s]"),
    "another address": ("{port}", "127.0.0.2", "host = '127.0.0.2' in [services.s]"),
    "another family": ("{port}", "::1", "host = '::1' in [services.s]"),
}


@pytest.mark.parametrize(("at", "host", "text"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_service_that_listens_elsewhere_is_told_where(tmp_path: Path, at: str, host: str, text: str):
    port, other = free_port(), free_port()
    command = ["{python}", "-m", "http.server", at.format(port=port, other=other), "--bind", host]
    (tmp_path / "toombos.toml").write_text(
        f'[services.s]\ncommand = {json.dumps(command)}\nport = {port}\nhealth = "/"\nstartup_timeout_s = 2\n'
    )
    try:
        started = run_toombos("start", cwd=tmp_path)
        assert started.returncode == 4
        assert text.format(other=other) in started.stderr
    finally:
        run_toombos("stop", cwd=tmp_path)


NOT_INSTALLED = "health = { command = ['no-such-program-here'] }\n"
ENDS = (
    "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(0.8); sys.exit(1)"
)
STAYS = ENDS.replace("0.8", "600")
OPTIONAL = {
    "that was never started": (STAYS, "", False, "skip"),
    "that was never started and whose check is not installed here": (STAYS, NOT_INSTALLED, False, "skip"),
    "that was started and has ended": (ENDS, "", True, "fail"),
    "that was started and whose check is not installed here": (STAYS, NOT_INSTALLED, True, "error"),
}


def write_optional(project: Path, program: str, health: str = "") -> None:
    command = json.dumps([sys.executable, "-c", program, "{port}"])
    (project / "toombos.toml").write_text(
        "[services.a]\ncommand = ['sleep', '600']\nscheme = 'none'\n"
        f"[services.o]\ncommand = {command}\nport = {free_port()}\nscheme = 'tcp'\n"
        f"optional = true\nstartup_timeout_s = 3\nrestart = {{ policy = 'never' }}\n{health}"
    )


def said_of_optional(project: Path) -> dict[str, str]:
    """Return the verdicts of health and smoke on the service `o`."""
    report = data_of(run_toombos("health", "--json", cwd=project))
    health = {s["name"]: s["verdict"] for s in report["services"]} | {s["name"]: "skip" for s in report["skipped"]}
    steps = data_of(run_toombos("smoke", "--json", cwd=project))["steps"]
    return {"health": health["o"], "smoke": {step["service"]: step["verdict"] for step in steps}["o"]}


@pytest.mark.parametrize(("program", "health", "was_started", "verdict"), OPTIONAL.values(), ids=OPTIONAL)
def test_health_and_smoke_agree_about_an_optional_service(
    tmp_path: Path, program: str, health: str, was_started: bool, verdict: str
):
    write_optional(tmp_path, program, health)
    try:
        run_toombos("start", "a", *["o"] * was_started, cwd=tmp_path)
        if program is ENDS:
            wait_for(lambda: "o failed" in run_toombos("status", "--short", cwd=tmp_path).stdout)
        assert said_of_optional(tmp_path) == {"health": verdict, "smoke": verdict}
    finally:
        run_toombos("stop", cwd=tmp_path)


def test_health_and_smoke_agree_about_an_optional_service_whose_state_is_lost(tmp_path: Path):
    """Its process, which closes its socket, is all that shows that it was started."""
    write_optional(tmp_path, STAYS.replace("time.sleep", "time.sleep(1.5); s.close(); time.sleep"))
    try:
        run_toombos("start", "o", cwd=tmp_path)
        os.kill(json.loads((tmp_path / "run" / "state.json").read_bytes())["supervisor_pid"], signal.SIGKILL)
        for state in (tmp_path / "run").glob("state.json*"):
            state.unlink()
        wait_for(lambda: "nothing listens" in run_toombos("health", "o", cwd=tmp_path).stdout)
        assert said_of_optional(tmp_path) == {"health": "fail", "smoke": "fail"}
    finally:
        run_toombos("stop", cwd=tmp_path)
