"""A service as a process: start, refused settings, port in use, and a clean end whatever its clients do."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.services.conftest import StartService, service_environment
from tests.support.ports import free_port
from tests.support.waiting import wait_for

SERVICES = ("crm", "platform")
GRACE_S = 8.0  # the least time that the supervisor waits


def lines(log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.splitlines()]


def complaints(log: str) -> list[dict[str, Any]]:
    return [line for line in lines(log) if line["level"] in ("ERROR", "CRITICAL")]


def run(service: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", f"services.{service}"],
        cwd=cwd,
        env=service_environment(**env),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def holds_a_socket(pid: int) -> bool:
    try:
        return any(str(file.readlink()).startswith("socket:") for file in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:  # the file was closed in the meantime
        return False


@contextmanager
def connection(port: int, request: bytes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(request)
        yield client


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_reports_its_start_and_exits_0_on_sigterm(start_service: StartService, name: str) -> None:
    service = start_service(name)
    messages = [line["message"] for line in lines(service.log())]
    assert f"startup complete, listening on 127.0.0.1:{service.port}" in messages
    assert service.stop() == 0
    assert lines(service.log())[-1]["message"] == "stopped"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{service.url}/live", trust_env=False)


def test_a_keyboard_interrupt_ends_a_service_without_a_traceback(start_service: StartService) -> None:
    service = start_service("crm")
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(10) == 130
    assert "Traceback" not in service.log()


CLIENTS = {
    "idle": b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "in the middle of a request head": b"POST /api/v1/email/send HTTP/1.1\r\nHost:",
    "in the middle of a chunked body": b"POST /api/v1/email/send HTTP/1.1\r\nHost: localhost\r\n"
    b'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"sub\r\n',
    "waiting for a slow response": b"GET /api/v1/contacts HTTP/1.1\r\nHost: localhost\r\nX-Simulate: slow\r\n\r\n",
}


@pytest.mark.parametrize("client", CLIENTS)
def test_sigterm_ends_a_service_within_the_grace_period_whatever_a_client_does(
    start_service: StartService, client: str
) -> None:
    service = start_service("crm", SHUTDOWN_GRACE_S="1", MOCK_SLOW_S="60")
    with connection(service.port, CLIENTS[client]):
        time.sleep(0.1)  # the request must be in progress, which is not visible from outside
        started = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - started < GRACE_S
    assert complaints(service.log()) == []


def test_sigterm_ends_a_service_with_a_streaming_client_attached(tmp_path: Path) -> None:
    log = tmp_path / "log"
    port = free_port()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("streaming_service.py"))],
            cwd=tmp_path,
            env=service_environment(PORT=str(port), PYTHONPATH=str(Path(__file__).parents[3])),
            stdout=out,
            stderr=out,
        )
    try:
        wait_for(lambda: "listening on" in log.read_text(), what="the streaming service")
        with connection(port, b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n") as client:
            received = b""
            while received.count(b"tick") < 3:
                received += client.recv(4096)
            started = time.monotonic()
            process.terminate()
            while client.recv(4096):  # read like a real client, until the service closes the connection
                assert time.monotonic() - started < GRACE_S
            assert process.wait(5) == 0
        assert complaints(log.read_text()) == []
    finally:
        process.kill()
        process.wait()


def test_a_service_responds_to_a_request_in_progress_before_it_ends(start_service: StartService) -> None:
    service = start_service("crm", MOCK_SLOW_S="0.5")
    request = b"GET /api/v1/contacts HTTP/1.1\r\nHost: localhost\r\nX-Simulate: slow\r\n\r\n"
    with connection(service.port, request) as client:
        time.sleep(0.1)  # as above
        assert service.stop() == 0
        assert client.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_port_in_use_is_reported_with_exit_code_3(start_service: StartService, tmp_path: Path) -> None:
    owner = start_service("crm")
    second = run("platform", tmp_path, PORT=str(owner.port))
    assert second.returncode == 3
    (line,) = lines(second.stdout)
    assert line["level"] == "CRITICAL"
    assert line["message"] == f"cannot listen on 127.0.0.1:{owner.port}: Address already in use"
    assert httpx.get(f"{owner.url}/live", trust_env=False).status_code == 200


def test_no_connection_is_accepted_before_the_app_is_built_and_a_port_lost_by_then_is_reported(tmp_path: Path) -> None:
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", 0))
        port = stranger.getsockname()[1]
        command = [sys.executable, "-P", "-m", "services.crm"]
        env = service_environment(PORT=str(port))
        with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as service:
            try:
                wait_for(lambda: holds_a_socket(service.pid), what="the bound port")
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", port), timeout=5)
                stranger.listen()
                log, _ = service.communicate(timeout=30)
            finally:
                service.kill()
    assert service.returncode == 3
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in [line["message"] for line in lines(log)]


@pytest.mark.parametrize("name", SERVICES)
def test_every_invalid_setting_is_reported_without_its_value_and_with_exit_code_3(name: str, tmp_path: Path) -> None:
    env = {"PORT": "sixtysix", "LOG_LEVEL": "LOUD", "MOCK_ERROR_RATE": "2", "DRY_RUN_MODE": "perhaps"}
    refused = run(name, tmp_path, **env)
    assert refused.returncode == 3
    assert {line.partition(":")[0] for line in refused.stderr.splitlines()} == set(env)
    (line,) = lines(refused.stdout)
    assert {problem["name"] for problem in line["problems"]} == set(env)
    assert all(problem["reason"] for problem in line["problems"])
    for value in ("sixtysix", "LOUD", "perhaps", "Traceback"):
        assert value not in refused.stdout + refused.stderr


def test_port_0_takes_a_free_port_and_reports_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "services.crm"],
            cwd=tmp_path,
            env=service_environment(PORT="0"),
            stdout=out,
        )
    try:
        wait_for(lambda: "listening on" in log.read_text(), what="the log's address")
        message = next(line["message"] for line in lines(log.read_text()) if "listening" in line["message"])
        address = message.rpartition(" ")[2]
        assert httpx.get(f"http://{address}/live", trust_env=False).json()["pid"] == process.pid
    finally:
        process.kill()
        process.wait()


def test_a_service_keeps_running_after_the_reader_of_its_log_has_gone(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "services.crm"],
        cwd=tmp_path,
        env=service_environment(PORT=str(port)),
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        while b"listening" not in process.stdout.readline():
            pass
        process.stdout.close()
        for _ in range(3):
            assert httpx.get(f"http://127.0.0.1:{port}/api/v1/contacts", trust_env=False).status_code == 200
    finally:
        process.kill()
        process.wait()
