"""A service is asked over a Unix socket, with headers and secrets, or by a command; strangers get no secret."""

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.runner import data_of, run_toombos

_SERVER = """
import json, os, socketserver, sys
from http.server import BaseHTTPRequestHandler
class Handler(BaseHTTPRequestHandler):
    def address_string(self): return "-"
    def do_GET(self):
        with open("seen", "a") as seen:
            seen.write(json.dumps(dict(self.headers)) + "\\n")
        status, headers = 200, {}
        wanted = os.environ.get("WANTED")
        if wanted and self.headers.get("Authorization") != "Bearer " + wanted:
            status = 401
        if os.environ.get("ONLY_HOST") and self.headers["Host"] != os.environ["ONLY_HOST"]:
            status = 400
        if os.environ.get("ONLY_TLS") and self.headers.get("X-Forwarded-Proto") != "https":
            status, headers = 301, {"Location": "https://shop.example" + self.path}
        body = json.dumps({"status": "ok", "echo": self.headers.get("Authorization")}).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
if sys.argv[1].startswith("/"):
    if os.path.exists(sys.argv[1]):
        os.unlink(sys.argv[1])
    server = socketserver.ThreadingUnixStreamServer(sys.argv[1], Handler)
else:
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    server = socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Handler)
server.serve_forever()
"""
SECRET = "zq7-secret-token-81"


class Project:
    """A project of one service, `s`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.port = free_port()
        self.output = ""
        (path / "s.py").write_text(_SERVER)

    def write(self, *lines: str, at: str = "{port}", address: str = "") -> None:
        """Write the manifest with these lines of the service's table."""
        head = ["[services.s]", f'command = ["{sys.executable}", "s.py", "{at}"]', "startup_timeout_s = 20"]
        head += [address or f"port = {self.port}"]
        (self.path / "toombos.toml").write_text("\n".join((*head, *lines)) + "\n")

    def __call__(self, *args: str) -> Any:
        """Run a command, and keep what it prints."""
        done = run_toombos(*args, cwd=self.path)
        self.output += done.stdout + done.stderr
        return done

    @property
    def service(self) -> dict[str, Any]:
        """The service as `health --json` shows it."""
        found: dict[str, Any] = data_of(self("health", "--json"))["services"][0]
        return found

    def seen(self) -> list[dict[str, str]]:
        """Return the headers of each request that the server got, with names in lower case."""
        lines = (self.path / "seen").read_text().splitlines()
        return [{name.lower(): value for name, value in json.loads(line).items()} for line in lines]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project; what it has started is stopped."""
    found = Project(tmp_path)
    yield found
    found("stop")


def test_a_service_on_a_unix_socket_is_started_judged_and_stopped(project: Project):
    project.write(at="{unix}", address='unix = "run/app.sock"')
    started = project("start")
    assert started.returncode == 0, started.stderr
    service = project.service
    assert (service["verdict"], service["reason"]) == ("pass", "ok")
    assert service["url"] == f"unix:{project.path}/run/app.sock/health" or service["url"].startswith("unix:")
    assert service["pid"] == data_of(project("status", "--json"))["services"][0]["pid"]
    for command in ("health -v", "status", "smoke"):
        assert project(*command.split()).returncode == 0, project.output
    assert project("stop").returncode == 0
    assert project.service["reason"] == "refused"  # the file is still there, and nothing listens


def test_a_stranger_on_the_unix_socket_is_no_service(project: Project):
    project.write(at="{unix}", address='unix = "app.sock"')
    assert project("start").returncode == 0
    place = project.path / "app.sock"
    place.unlink()
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(place))
        stranger.listen()
        service = project.service
        assert service["reason"] == "wrong-owner"
        assert str(os.getpid()) in service["detail"]
        project("stop")
        again = project("start")
        assert again.returncode == 4
        assert "taken by pid" in again.stderr


def test_a_socket_in_a_long_path_is_reached(tmp_path: Path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    project = Project(tmp_path)
    (tmp_path / "s.py").write_text(
        "import os\nos.chdir(os.path.dirname(__import__('sys').argv[1]))\n"
        + _SERVER.replace("sys.argv[1]", "NAME", 0)
        .replace(
            "if sys.argv[1].startswith", "sys.argv[1] = './' + os.path.basename(sys.argv[1])\nif sys.argv[1].startswith"
        )
        .replace('startswith("/")', 'startswith("./")')
    )
    project.write(at="{unix}", address=f'unix = "{deep.relative_to(tmp_path)}/a.sock"')
    try:
        assert project("start").returncode == 0, project.output
        assert project.service["verdict"] == "pass"
    finally:
        project("stop")


def test_a_header_with_a_secret_reaches_the_service_and_no_output(project: Project):
    (project.path / ".env").write_text(f"TOKEN={SECRET}\n")
    (project.path / ".env").chmod(0o600)
    project.write(
        'headers = { Authorization = "Bearer ${env.TOKEN}", Host = "shop.example" }', f'env = {{ WANTED = "{SECRET}" }}'
    )
    started = project("start")
    assert started.returncode == 0, started.stderr
    for command in ("health -v", "health --json", "smoke", "smoke --json", "status --json", "diagnose --json"):
        assert project(*command.split()).returncode in (0, 1), project.output
    assert project.service["verdict"] == "pass"
    assert {request["host"] for request in project.seen()} == {"shop.example"}
    assert SECRET not in project.output
    assert SECRET not in (project.path / "run" / "state.json").read_text()


def test_a_header_whose_variable_is_not_set_is_left_out_and_named(project: Project):
    project.write(
        'headers = { Authorization = "Bearer ${env.TOKEN}" }', 'env = { WANTED = "x" }', "startup_timeout_s = 1"
    )
    text = (project.path / "toombos.toml").read_text().replace("startup_timeout_s = 20\n", "")
    (project.path / "toombos.toml").write_text(text)
    started = project("start")
    assert started.returncode == 4
    assert "TOKEN is not set" in started.stderr
    assert all("authorization" not in request for request in project.seen())


def test_a_secret_is_not_sent_to_a_stranger_on_the_port(project: Project):
    (project.path / ".env").write_text(f"TOKEN={SECRET}\n")
    (project.path / ".env").chmod(0o600)
    project.write('headers = { Authorization = "Bearer ${env.TOKEN}" }')
    assert project("start").returncode == 0
    received: list[bytes] = []
    project("stop")
    with socket.create_server(("127.0.0.1", project.port)) as stranger:
        project("start")
        stranger.settimeout(0.2)
        for command in ("health", "smoke", "diagnose"):
            project(command)
        with contextlib.suppress(TimeoutError):
            while True:
                connection, _ = stranger.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(0.2)
                    received.append(connection.recv(65536))
    assert not any(SECRET.encode() in data for data in received)


def test_a_secret_is_not_sent_to_another_machine(project: Project):
    (project.path / ".env").write_text(f"TOKEN={SECRET}\n")
    (project.path / ".env").chmod(0o600)
    project.write('host = "192.0.2.1"', 'headers = { Authorization = "Bearer ${env.TOKEN}" }')
    service = project.service
    assert service["verdict"] == "error"
    assert "not this machine" in service["detail"]
    assert "allowed_targets" in service["detail"]


REMEDIES = {
    "a server of its own host names": ('ONLY_HOST = "shop.example"', "headers = { Host = 'NAME' }"),
    "a redirect to TLS": ('ONLY_TLS = "1"', "headers = { Host = 'shop.example', X-Forwarded-Proto = 'https' }"),
}


@pytest.mark.parametrize(("variable", "remedy"), REMEDIES.values(), ids=REMEDIES)
def test_a_refusal_that_a_header_would_mend_says_so(project: Project, variable: str, remedy: str):
    project.write(f"env = {{ {variable} }}", 'ready = "/health"')
    text = (project.path / "toombos.toml").read_text().replace("startup_timeout_s = 20", "startup_timeout_s = 1")
    (project.path / "toombos.toml").write_text(text)
    started = project("start")
    assert started.returncode == 4
    assert remedy in started.stderr


COMMANDS = {
    "exit code 0": ("import sys; print('fine')", "pass", "ok", ""),
    "another exit code": (
        "import sys; print('one'); print('no replica'); sys.exit(3)",
        "fail",
        "command",
        "no replica",
    ),
    "a secret in its last line": (
        "import os, sys; print('bad', os.environ['MY_PASSWORD']); sys.exit(1)",
        "fail",
        "command",
        "bad",
    ),
    "no end": (
        "import time; print('waiting', flush=True); time.sleep(100)",
        "fail",
        "timeout",
        "did not end within 1 s: waiting",
    ),
    "a flood of output": ("print('x' * 5_000_000)", "pass", "ok", ""),
    "input": ("import sys; sys.exit(len(sys.stdin.read()))", "pass", "ok", ""),
    "a child that keeps the output open": (
        "import subprocess, sys; subprocess.Popen(['sleep', '100'])",
        "pass",
        "ok",
        "",
    ),
}


@pytest.mark.parametrize(("code", "verdict", "reason", "text"), COMMANDS.values(), ids=COMMANDS)
def test_a_command_says_whether_a_service_is_well(project: Project, code: str, verdict: str, reason: str, text: str):
    (project.path / ".env").write_text(f"MY_PASSWORD={SECRET}\n")
    (project.path / ".env").chmod(0o600)
    (project.path / "probe.py").write_text(code)
    check = '{ command = ["{python}", "probe.py"], timeout_s = 1 }'
    project.write(f"health = {check}", 'ready = { path = "/ready" }')
    assert project("start").returncode == 0, project.output
    service = project.service
    assert (service["verdict"], service["reason"]) == (verdict, reason), service
    assert text in service["detail"]
    assert SECRET not in project.output


def test_a_worker_is_ready_when_its_command_says_so_and_unhealthy_when_it_does_not(tmp_path: Path):
    check = '{ command = ["test", "-e", "consumed"] }'
    (tmp_path / "toombos.toml").write_text(
        f'[services.w]\ncommand = ["sh", "-c", "sleep 1; touch consumed; exec sleep 100"]\nscheme = "none"\n'
        f"health = {check}\nprobe_interval_s = 0.1\n"
    )

    def run(*args: str) -> Any:
        return run_toombos(*args, cwd=tmp_path)

    def phase() -> Any:
        return data_of(run("status", "--json"))["services"][0]["phase"]

    try:
        assert run("start").returncode == 0
        assert (tmp_path / "consumed").exists()
        assert run("health").returncode == 0
        (tmp_path / "consumed").unlink()
        deadline = time.monotonic() + 20
        while phase() != "unhealthy":
            assert time.monotonic() < deadline
        assert run("health").returncode == 1
    finally:
        run("stop")


def test_status_and_diagnose_run_no_command(project: Project):
    project.write(
        'health = { command = ["touch", "marker"] }', 'ready = { path = "/ready" }', "live = { path = '/live' }"
    )
    assert project("start").returncode == 0, project.output
    for command in ("status", "diagnose"):
        project(command)
    assert not (project.path / "marker").exists()
    assert project("health").returncode == 0
    assert (project.path / "marker").exists()


def test_a_file_that_is_missing_is_named_with_its_key(project: Project):
    project.write('scheme = "https"', 'ca_file = "certs/{name}.pem"')
    service = project.service
    assert service["verdict"] == "error"
    assert f"ca_file in [services.s]: {project.path}/certs/s.pem is not a file" in service["detail"]
