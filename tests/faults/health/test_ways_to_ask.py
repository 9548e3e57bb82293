"""A service is asked over a Unix socket, with headers and secrets, or by a command; strangers get no secret."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.runner import data_of, run_toombos
from tests.support.waiting import wait_for

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

    def write(self, *lines: str, at: str = "{port}", address: str = "", patience_s: float = 20) -> None:
        """Write the manifest with these lines of the service's table."""
        head = ["[services.s]", f'command = ["{sys.executable}", "s.py", "{at}"]', f"startup_timeout_s = {patience_s}"]
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
    findings = data_of(project("diagnose", "--json"))["findings"]
    assert not [found for found in findings if found["verdict"] == "fail" and not found["id"].startswith("res.")]
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


_B = "unix:{cwd}/b.sock: unix = '{cwd}/b.sock'"
_PORT = "127.0.0.1:{port}: port = {port}"
ELSEWHERE = {
    "another socket than the manifest names": ("{cwd}/b.sock", 'unix = "a.sock"', _B),
    "a port, but the manifest names a socket": ("{port}", 'unix = "a.sock"', f"{_PORT} instead of unix"),
    "a socket, but the manifest names a port": ("{cwd}/b.sock", "port = {port}", f"{_B} instead of port"),
    "another port than the manifest names": ("{port}", "port = {other}", _PORT),
}


@pytest.mark.parametrize(("at", "address", "said"), ELSEWHERE.values(), ids=list(ELSEWHERE))
def test_a_service_that_never_gets_ready_is_told_where_it_listens_if_that_is(
    project: Project, at: str, address: str, said: str
):
    given = {"cwd": project.path, "port": project.port, "other": free_port()}
    project.write(at=at.format(**given), address=address.format(**given), patience_s=1.5)
    started = project("start")
    assert started.returncode == 4
    assert "not ready after 1.5 s: nothing listens on " in started.stderr
    said = f"listens on {said} in [services.s]".format(**given)
    assert said in started.stderr
    (found,) = (f for f in data_of(project("diagnose", "--json"))["findings"] if f["id"] == "proc.missing")
    assert said in found["cause"]
    assert "set in [services.s] of toombos.toml where it listens" in str(found["fix"])


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


_LISTENER = """
import os, socket, sys
place = sys.argv[1]
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
sock = socket.socket(socket.AF_UNIX if "/" in place else socket.AF_INET)
sock.bind(place if "/" in place else ("127.0.0.1", int(place)))
sock.listen()
print("listens", flush=True)
while True:
    one, _ = sock.accept()
    if request := one.recv(65536):
        print(request, flush=True)
        one.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    one.close()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a process as another user")
@pytest.mark.parametrize("kind", ["port", "unix"])
@pytest.mark.parametrize(("user", "is_sent"), [(65534, False), (0, True)], ids=["another user", "root"])
def test_a_system_that_was_started_otherwise_gets_secrets_only_as_its_users(
    project: Project, user: int, is_sent: bool, kind: str
):
    (project.path / ".env").write_text(f"TOKEN={SECRET}\n")
    (project.path / ".env").chmod(0o600)
    place = str(project.port) if kind == "port" else f"/tmp/{project.port}-{user}.sock"
    address = f"unix = '{place}'" if kind == "unix" else ""
    project.write('headers = { Authorization = "Bearer ${env.TOKEN}" }', at=f"{{{kind}}}", address=address)
    listener = subprocess.Popen([sys.executable, "-c", _LISTENER, place, str(user)], stdout=subprocess.PIPE, text=True)
    try:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "listens\n"
        service = project.service
        project("diagnose")
        project("smoke")
    finally:
        listener.kill()
        Path(place).unlink(missing_ok=True)
    received = listener.communicate()[0]
    assert (SECRET in received) == is_sent
    if is_sent:
        assert service["verdict"] == "pass"
    else:
        assert (service["verdict"], service["reason"]) == ("error", "error")
        assert "of the user 65534, which toombos did not start; nothing was sent to it" in service["detail"]


WAYS = {
    "a smoke step": (
        'headers = { X-Key = "${env.TOKEN}" }\n[[smoke]]\nname = "key"\nservice = "s"\npath = "/"\n'
        'headers = { X-Key = "${env.TOKEN}" }',
        ("smoke",),
    ),
    "a smoke step alone": (
        '[[smoke]]\nname = "key"\nservice = "s"\npath = "/"\nheaders = { X-Key = "${env.TOKEN}" }',
        ("smoke",),
    ),
    "a counter of a step of another service": (
        '[services.own]\ncommand = ["{python}", "s.py", "{port}"]\nport = OTHER\n'
        '[[smoke]]\nname = "key"\nservice = "own"\npath = "/"\n'
        'counters = [{ service = "s", path = "/${env.TOKEN}", json = "n", rises_by = 0 }]',
        ("start", "own"),
        ("smoke", "--only", "key"),
    ),
    "the headers of load": (
        '[load]\nservice = "s"\npath = "/"\nheaders = { X-Key = "${TOKEN}" }',
        ("load", "-n", "1", "-c", "1"),
    ),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a process as another user")
@pytest.mark.parametrize(("user", "is_sent"), [(65534, False), (0, True)], ids=["another user", "root"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_nothing_sends_a_variable_to_a_process_of_another_user(
    project: Project, way: tuple[Any, ...], user: int, is_sent: bool
):
    lines, *commands = way
    (project.path / ".env").write_text(f"TOKEN={SECRET}\n")
    (project.path / ".env").chmod(0o600)
    project.write(lines.replace("OTHER", str(free_port())))
    argv = [sys.executable, "-c", _LISTENER, str(project.port), str(user)]
    listener = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "listens\n"
        for command in commands:
            last = project(*command)
    finally:
        listener.kill()
    assert (SECRET in listener.communicate()[0]) == is_sent, project.output
    if not is_sent:
        assert last.returncode != 0
        assert "of the user 65534, which toombos did not start" in project.output


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


NO_HTTP = {
    "HTTP/2 alone": (b"\0\0\0\4\0\0\0\0\0", "http2 = true"),
    "a transfer coding that no client knows": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: zip\r\n\r\n",
        "is not valid HTTP",
    ),
    "another protocol": (b"220 mail ESMTP\r\n", "if it speaks no HTTP: scheme = 'tcp' in [services.s]"),
    "a refusal in JSON": (
        b"HTTP/1.1 503 No\r\nContent-Type: application/json\r\nContent-Length: 29\r\n\r\n"
        b'{"checks": {"db": "no disk"}}'.replace(b"no disk", b"offline"),
        "503: the body says checks.db 'offline'",
    ),
}


@pytest.mark.parametrize(("response", "words"), NO_HTTP.values(), ids=NO_HTTP)
def test_start_health_and_smoke_use_the_words_of_the_judge(project: Project, response: bytes, words: str):
    (project.path / "s.py").write_text(
        "import socket, sys\nsock = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        f"while True:\n    one, _ = sock.accept()\n    one.recv(9999)\n    one.sendall({response!r})\n    one.close()\n"
    )
    project.write('ready = { command = ["true"] }')
    assert project("start").returncode == 0, project.output
    detail = project.service["detail"]
    assert words in detail
    assert detail in data_of(project("smoke", "--json"))["steps"][0]["got"]
    project("stop")
    text = (project.path / "toombos.toml").read_text().replace('ready = { command = ["true"] }', "")
    (project.path / "toombos.toml").write_text(text.replace("startup_timeout_s = 20", "startup_timeout_s = 1"))
    started = project("start")
    assert started.returncode == 4
    assert detail.removeprefix("HTTP ") in started.stderr


WELL, FAILED, OTHER = ("pass", "ok", None), ("fail", "command", None), ("fail", "command", "unexpected")
# code, keys beside the command, verdict, detail
COMMANDS = {
    "exit code 0": ("print('fine')", "", WELL, ""),
    "another exit code": (
        "import sys; print('one'); print('two'); print('no replica'); sys.exit(3)",
        "",
        FAILED,
        "exited with code 3: one … no replica",
    ),
    "one line": ("import sys; sys.exit('no replica')", "", FAILED, "exited with code 1: no replica"),
    "silence": ("import sys; sys.exit(4)", "", FAILED, "the health command exited with code 4"),
    "errors beside output": (
        "import sys; print('out'); print('first\\n\\nmid\\nlast\\n', file=sys.stderr); sys.exit(1)",
        "",
        FAILED,
        "exited with code 1: first … last",
    ),
    "a signal": ("import os; print('x', flush=True); os.kill(os.getpid(), 9)", "", FAILED, "was ended by SIGKILL: x"),
    "a secret in its last line": (
        "import os, sys; print('bad', os.environ['MY_PASSWORD']); sys.exit(1)",
        "",
        FAILED,
        "bad",
    ),
    "a secret in its first error": (
        "import os, sys; print('x' * 150 + os.environ['MY_PASSWORD'], file=sys.stderr); sys.exit(1)",
        "",
        FAILED,
        "xxx",
    ),
    "no end": (
        "import time; print('waiting', flush=True); time.sleep(100)",
        "",
        ("fail", "timeout", None),
        "did not end within 1 s: waiting",
    ),
    "a flood of output": ("print('x' * 5_000_000)", "", WELL, ""),
    "a flood of errors": ("import sys; print('x' * 5_000_000, file=sys.stderr)", "", WELL, ""),
    "input": ("import sys; sys.exit(len(sys.stdin.read()))", "", WELL, ""),
    "a child that keeps the output open": (
        "import subprocess, sys; subprocess.Popen(['sleep', '100'])",
        "",
        WELL,
        "",
    ),
    "the expected text": ("print('PONG')", "text = '^PONG$'", WELL, ""),
    "the expected text at the end of much": ("print('x' * 50_000); print('PONG')", "text = 'PONG\\s*$'", WELL, ""),
    "another text": (
        "print('NOAUTH Authentication required.')",
        "text = '^PONG$'",
        OTHER,
        "output does not match '^PONG$': NOAUTH Authentication required.",
    ),
    "the expected text as an error": (
        "import sys; print('PONG', file=sys.stderr)",
        "text = '^PONG$'",
        OTHER,
        "output does not match '^PONG$': PONG",
    ),
    "no text": ("", "text = '.'", OTHER, "output does not match '.': it printed nothing"),
    "the expected text and another exit code": (
        "print('PONG'); raise SystemExit(1)",
        "text = 'PONG'",
        FAILED,
        "code 1",
    ),
}


@pytest.mark.parametrize(("code", "keys", "expected", "text"), COMMANDS.values(), ids=COMMANDS)
def test_a_command_says_whether_a_service_is_well(project: Project, code: str, keys: str, expected: Any, text: str):
    (project.path / ".env").write_text(f"MY_PASSWORD={SECRET}\n")
    (project.path / ".env").chmod(0o600)
    (project.path / "probe.py").write_text(code)
    beside = f", {keys}" if keys else ""
    check = f'{{ command = ["{{python}}", "probe.py"], timeout_s = 1{beside} }}'
    project.write(f"health = {check}", 'ready = { path = "/ready" }')
    assert project("start").returncode == 0, project.output
    service = project.service
    assert (service["verdict"], service["reason"], service["cause"]) == expected, service
    assert text in service["detail"]
    assert SECRET[:6] not in project.output


LIVE = {"an exit code": "[ -e alive ]", "a text": "[ -e alive ] && echo PONG; exit 0"}


@pytest.mark.parametrize("script", LIVE.values(), ids=LIVE)
def test_the_supervisor_asks_a_command_whether_a_service_is_alive(project: Project, script: str):
    (project.path / "alive").touch()
    text = ", text = '^PONG$'" if "PONG" in script else ""
    project.write(
        f"live = {{ command = ['sh', '-c', '{script}']{text} }}", "probe_interval_s = 0.1", "unhealthy_after = 2"
    )
    assert project("start").returncode == 0, project.output

    def phase() -> Any:
        return data_of(project("status", "--json"))["services"][0]["phase"]

    assert phase() == "ready"
    (project.path / "alive").unlink()
    wait_for(lambda: phase() == "unhealthy")
    (project.path / "alive").touch()
    wait_for(lambda: phase() == "ready")


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


@pytest.mark.parametrize("lines", ["", 'scheme = "tcp"'], ids=["http", "tcp"])
def test_a_machine_without_loopback_fails_no_optional_service(project: Project, lines: str):
    apart = ("unshare", "--net")
    if subprocess.run([needs("unshare"), "--net", "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to make a network namespace")
    project.write(lines, f"[services.o]\ncommand = ['x']\nport = {free_port()}\noptional = true\n{lines}")
    health = run_toombos("health", "--json", cwd=project.path, through=apart)
    found = data_of(health)
    assert [(row["name"], row["verdict"]) for row in found["services"]] == [("s", "fail")]
    assert [row["name"] for row in found["skipped"]] == ["o"]
    smoke = data_of(run_toombos("smoke", "--json", cwd=project.path, through=apart))
    assert {step["name"]: step["verdict"] for step in smoke["steps"]} == {"health-s": "fail", "health-o": "skip"}
    diagnosed = run_toombos("diagnose", "--json", cwd=project.path, through=apart)
    assert diagnosed.returncode == 1
    assert not diagnosed.stderr


FILES = {
    "authorities": ('ca_file = "a/{name}.pem"', "ca_file {path}/a/s.pem cannot be used: No such file or directory"),
    "a certificate": ('client_cert = "c.pem"', "client_cert {path}/c.pem cannot be used: No such file or directory"),
    "a directory": ('client_cert = "d"', "client_cert {path}/d cannot be used: Is a directory"),
    "the key of a certificate": (
        'client_cert = "s.py"\nclient_key = "k.pem"',
        "client_key {path}/k.pem cannot be used: No such file or directory",
    ),
    "no certificate in it": ('client_cert = "s.py"', "client_cert {path}/s.py cannot be used: "),
    "no authorities in it": ('ca_file = "s.py"', "ca_file {path}/s.py cannot be used: "),
}


@pytest.mark.parametrize(("lines", "text"), FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_used_is_named_with_its_key(project: Project, lines: str, text: str):
    (project.path / "d").mkdir()
    well = free_port()
    project.write(
        'scheme = "https"\nmetrics = "/metrics"\nopenapi = "/openapi.json"',
        lines,
        f"[services.w]\ncommand = ['x']\nport = {well}\nscheme = 'tcp'",
    )
    with socket.create_server(("127.0.0.1", project.port)), socket.create_server(("127.0.0.1", well)):
        found = data_of(project("health", "--json"))["services"]
        assert [row["verdict"] for row in found] == ["error", "pass"]
        assert text.format(path=project.path) in found[0]["detail"]
        assert text.format(path=project.path) in project("smoke", "--json").stdout
        assert project("diagnose", "--json").returncode == 1
    assert "Traceback" not in project.output
