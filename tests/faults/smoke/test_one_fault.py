"""The real system with one fault at a time: the smoke test fails at the right step, with expected and got."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.runner import begin_toombos, run_toombos
from tests.support.servers import hang, serve
from tests.support.tampering import body_of, http, on, tampered, with_body
from tests.support.waiting import wait_for

NAMES = ("crm", "platform", "generator")
KEY = "a-key-for-the-smoke-test-4711"


def write_manifest(directory, ports):
    tables = "".join(f"[services.{name}]\nport = {ports[name]}\n" for name in NAMES)
    (directory / "toombos.toml").write_text(f'extends = "toombos"\n{tables}')


def toombos(project, *args, **env):
    return run_toombos("--project", project, *args, env=env, timeout_s=120)


@pytest.fixture(scope="module")
def ports():
    return {name: free_port() for name in NAMES}


@pytest.fixture(scope="module")
def system(tmp_path_factory, ports):
    """The three services, running in dry-run mode with an API key; the project's directory."""
    project = tmp_path_factory.mktemp("system")
    write_manifest(project, ports)
    (project / ".env").write_text(f"API_KEY={KEY}\n")
    done = toombos(project, "start", "--dry-run")
    assert done.returncode == 0, done.stderr
    yield project
    toombos(project, "stop")


@pytest.fixture
def smoke(tmp_path, ports, system):
    """Return a function that runs `toombos smoke` with other ports for some services: (exit code, JSON document)."""
    (tmp_path / ".env").write_text(f"API_KEY={KEY}\n")

    def run(*args, **others):
        write_manifest(tmp_path, ports | others)
        done = toombos(tmp_path, "smoke", "--json", *args)
        assert KEY not in done.stdout + done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


def failed(document):
    return [step for step in document["data"]["steps"] if step["verdict"] in ("fail", "error")]


SEND = b"POST /api/v1/email/send"
PUBLISH = b"POST /api/v1/content/publish"


def off_by_one(response):
    """Return the response with a counter that misses every other e-mail."""
    stats = json.loads(body_of(response))
    return with_body(response, json.dumps(stats | {"emails_sent": stats["emails_sent"] // 2}).encode())


def without(field):
    def change(response):
        body = json.loads(body_of(response))
        body.pop(field, None)
        return with_body(response, json.dumps(body).encode())

    return change


# service, change, first step that fails, what it expected, what it got
FAULTS = {
    "500 with JSON": (
        "crm",
        on(SEND, lambda a: http("500 Oops", b'{"status": "sent"}')),
        "crm-send",
        "HTTP 200",
        "HTTP 500",
    ),
    "an empty body": ("crm", on(SEND, lambda a: http("200 OK", b"")), "crm-send", "a JSON body", "the body is empty"),
    "a 422": (
        "platform",
        on(PUBLISH, lambda a: http("422 No", b'{"detail": []}')),
        "platform-publish",
        "HTTP 200",
        "HTTP 422",
    ),
    "a response without a required field": (
        "platform",
        on(PUBLISH, without("published_at")),
        "platform-publish",
        "OpenAPI schema",
        "'published_at' is a required property",
    ),
    "a web page instead of JSON": (
        "platform",
        on(PUBLISH, lambda a: http("200 OK", b"<html>Log in</html>", "text/html")),
        "platform-publish",
        "a JSON body",
        "not JSON",
    ),
    "a counter off by one": (
        "crm",
        on(b"GET /api/v1/stats", off_by_one),
        "generate",
        "emails_sent rises by 1",
        "emails_sent rose by",
    ),
    "a simulation that succeeds": (
        "crm",
        on(SEND, lambda a: http("200 OK", b'{"detail": "fine"}') if b" 408 " in a[:20] else a),
        "crm-timeout",
        "HTTP 408",
        "HTTP 200",
    ),
    "authentication bypassed": (
        "generator",
        on(b"POST /api/v2/generate-content", lambda a: http("200 OK", b"{}") if b" 401 " in a[:20] else a),
        "auth-none",
        "HTTP 401",
        "HTTP 200",
    ),
    "the right key refused": (
        "generator",
        on(b"GET /api/v2/generations?limit=1", lambda a: http("401 No", b'{"detail": "no"}')),
        "auth-right-key",
        "HTTP 200",
        "HTTP 401",
    ),
    "a history that loses an entry": (
        "generator",
        on(b"GET /api/v2/generations/", lambda a: http("404 No", b'{"detail": "gone"}')),
        "history",
        "HTTP 200",
        "HTTP 404",
    ),
    "a refused request to another machine": (
        "generator",
        on(
            b"GET /metrics",
            lambda a: with_body(a, re.sub(rb"(?m)^(toombos_egress_refused_total) .*$", rb"\1 1.0", body_of(a))),
        ),
        "isolation-refused",
        "toombos_egress_refused_total 0",
        "toombos_egress_refused_total 1",
    ),
    "an unhealthy body": (
        "platform",
        on(b"GET /health", lambda a: with_body(a, body_of(a).replace(b'"healthy"', b'"unhealthy"'))),
        "health-platform",
        "healthy",
        "the body says status 'unhealthy'",
    ),
}


@pytest.mark.parametrize(("service", "tamper", "step", "expected", "got"), FAULTS.values(), ids=FAULTS)
def test_one_fault_fails_at_the_right_step(smoke, ports, service, tamper, step, expected, got):
    with tampered(ports[service], tamper) as port:
        code, document = smoke(**{service: port})
    assert code == 1, document
    first = failed(document)[0]
    assert first["name"] == step
    assert expected in first["expected"]
    assert got in first["got"]


def test_the_healthy_system_passes_with_a_key_and_leaves_nothing_in_the_mocks(smoke, ports):
    for name in ("crm", "platform"):
        request = b"DELETE /api/v1/test-data HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", ports[name])) as connection:
            connection.sendall(request)
            connection.recv(1000)
    code, document = smoke()
    assert code == 0, failed(document)
    verdicts = {step["name"]: step["verdict"] for step in document["data"]["steps"]}
    assert verdicts["auth-none"] == verdicts["auth-right-key"] == verdicts["isolation-sockets"] == "pass"
    assert set(verdicts.values()) <= {"pass", "skip"}
    assert document["data"]["left_behind"] == []


LIVE = on(b"GET /health", lambda a: with_body(a, body_of(a).replace(b'"dry_run":true', b'"dry_run":false')))


def test_a_live_system_is_refused_before_anything_is_sent(smoke, ports):
    requests = []

    def watch(request):
        requests.append(request.split(b" ", 1)[0])
        return request

    with tampered(ports["generator"], LIVE, rewrite=watch) as port:
        code, document = smoke(generator=port)
    assert (code, document["data"]) == (5, {})
    assert "does not say that it is in dry-run mode" in document["errors"][0]["message"]
    assert re.match(r"(toombos --project \S+) stop && \1 start --dry-run ", document["errors"][0]["hint"])
    assert set(requests) == {b"GET"}


def test_a_live_system_with_allow_live_gets_only_the_read_only_steps(smoke, ports):
    posted = []

    def watch(request):
        if request.startswith(b"POST"):
            posted.append(request)
        return request

    with tampered(ports["generator"], LIVE, rewrite=watch) as port:
        code, document = smoke("--allow-live", generator=port)
    verdicts = {step["name"]: step for step in document["data"]["steps"]}
    assert code == 0
    assert verdicts["dry-run-generator"]["verdict"] == "warn"
    assert verdicts["generate"]["verdict"] == "skip"
    assert "has not said that it is in dry-run mode" in verdicts["generate"]["detail"]
    assert verdicts["history-list"]["verdict"] == "pass"
    assert posted == []


def test_flaky_steps_are_reported_with_their_failure_rate(smoke, ports):
    count = iter(range(1000))

    def every_third(response):
        return http("500 Oops", b"{}") if next(count) % 3 == 2 else response

    with tampered(ports["crm"], on(b"GET /api/v1/email/msg_", every_third)) as port:
        code, document = smoke("--only", "crm-status", "--repeat", "6", crm=port)
    assert code == 1
    (flaky,) = document["data"]["flaky"]
    assert (flaky["name"], flaky["passed"], flaky["failed"]) == ("crm-status", 4, 2)
    assert (document["data"]["rounds"], document["data"]["failed_rounds"]) == (6, 2)


def test_a_service_that_is_down_is_one_failure_not_many(smoke):
    code, document = smoke(crm=free_port())
    assert code == 1
    assert "refused" in failed(document)[0]["got"]
    assert [step["name"] for step in failed(document)] == ["health-crm"]
    skipped = {s["name"] for s in document["data"]["steps"] if s["detail"] == "crm is not healthy"}
    assert {"crm-send", "crm-status", "metrics-crm"} <= skipped


@pytest.mark.full
def test_a_hundred_runs_in_a_row_pass(smoke):
    code, document = smoke("--repeat", "100")
    assert (code, document["data"]["failed_rounds"], document["data"]["flaky"]) == (0, 0, [])


BEYOND = """
import socket, sys
outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
outside.connect(("192.0.2.1", 9))  # documentation address; connecting a datagram socket sends nothing
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    connection, _ = listener.accept()
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    connection.close()
"""


def test_a_socket_beyond_this_machine_fails_the_isolation_step(tmp_path):
    script, port = tmp_path / "beyond.py", free_port()
    script.write_text(BEYOND)
    (tmp_path / "toombos.toml").write_text(
        f"""
[services.web]
command = ["unused"]
port = {port}
[[smoke]]
name = "isolation"
service = "web"
loopback_only = true
"""
    )
    process = subprocess.Popen([sys.executable, str(script), str(port)])
    try:
        done = toombos(tmp_path, "smoke", "--json", "--wait", "10")
    finally:
        process.kill()
        process.wait()
    assert done.returncode == 1, done.stdout
    (step,) = failed(json.loads(done.stdout))
    assert (step["name"], step["expected"]) == ("isolation", "no socket beyond this machine")
    assert f"192.0.2.1 port 9 (UDP, pid {process.pid})" in step["got"]


def test_the_outputs_for_ci_are_written_besides_the_verdict(smoke, tmp_path, ports):
    junit = tmp_path / "reports" / "smoke.xml"
    with tampered(ports["crm"], on(SEND, lambda a: http("500 Oops", b'{"a": "<&>"}'))) as port:
        write_manifest(tmp_path, ports | {"crm": port})
        summary = tmp_path / "summary.md"
        arguments = ("smoke", "--junit", str(junit), "--github", "--only", "crm-send")
        done = toombos(tmp_path, *arguments, GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 1
    assert Path(junit).read_text().count("<failure") == 1
    assert "::error title=toombos smoke%3A crm-send::request: POST" in done.stdout
    assert "%0Aexpected: HTTP 200" in done.stdout
    assert "| FAIL | crm-send |" in summary.read_text()
    assert done.stdout.splitlines()[-1].startswith("smoke test FAILED: crm-send")


def test_a_second_smoke_test_of_a_project_is_refused_while_one_runs(tmp_path):
    with serve(hang) as port:
        (tmp_path / "toombos.toml").write_text(
            f'[services.web]\ncommand = ["unused"]\nprobe_timeout_s = 100\nport = {port}\n'
        )
        with begin_toombos("smoke", cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
            lock = tmp_path / "run" / "smoke.lock"
            wait_for(lambda: lock.exists() and lock.read_text().split()[:1] == [str(first.pid)])
            second = toombos(tmp_path, "smoke")
            first.kill()
    assert second.returncode == 6
    assert f"pid {first.pid} " in second.stderr
