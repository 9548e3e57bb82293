"""The process that responds: the one that toombos started, a suspended one, or a stranger."""

import json
import os
import shlex
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.servers import answer, read_request, serve
from tests.support.waiting import wait_for

WEB = Path(__file__).parents[1] / "services" / "web.py"


@pytest.fixture
def project(tmp_path):
    """A project with one small service on a free port."""
    (tmp_path / "toombos.toml").write_text(
        f"""
[services.web]
command = {json.dumps([sys.executable, str(WEB)])}
port = {free_port()}
env = {{ PORT = "{{port}}" }}
probe_timeout_s = 0.5
[services.web.restart]
backoff_initial_s = 30
"""
    )
    return tmp_path


def health(toombos, *args):
    done = toombos("health", "--json", *args)
    (service,) = json.loads(done.stdout)["data"]["services"]
    return done.returncode, service


def test_a_running_service_is_up_with_its_own_pid(toombos):
    assert toombos("start").returncode == 0
    (row,) = json.loads(toombos("status", "--json").stdout)["data"]["services"]
    code, service = health(toombos)
    assert (code, service["status"], service["reason"], service["pid"]) == (0, "up", "ok", row["pid"])


def test_a_suspended_process_is_reported_as_stopped_and_the_fix_resumes_it(toombos):
    toombos("start")
    pid = health(toombos)[1]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        code, service = health(toombos)
        assert (code, service["status"], service["reason"], service["pid"]) == (1, "down", "stopped", pid)
        assert service["fix"]["command"] == f"kill -CONT {pid}"
    finally:
        os.kill(pid, signal.SIGCONT)
    assert wait_for(lambda: health(toombos)[0] == 0)


def test_a_stranger_on_the_port_is_reported_and_not_mistaken_for_the_service(toombos, project):
    with (project / "toombos.toml").open("a") as manifest:
        manifest.write('[load]\nservice = "web"\n')
    toombos("start")
    _, before = health(toombos)
    os.kill(before["pid"], signal.SIGKILL)
    port = int(before["url"].split(":")[2].split("/")[0])
    wait_for(lambda: _is_free(port), what="the port free")
    asked: list[bytes] = []

    def healthy(connection: socket.socket) -> None:
        asked.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nhealthy")

    with serve(healthy, port=port):
        code, service = health(toombos)
        asked.clear()
        smoke, load = toombos("smoke", "--json"), toombos("load", "/", "-n", "2", "-c", "1")
    assert (code, service["status"], service["reason"], service["pid"]) == (1, "down", "wrong-owner", os.getpid())
    (step,) = json.loads(smoke.stdout)["data"]["steps"]
    assert (smoke.returncode, step["verdict"]) == (1, "fail")
    assert step["got"].startswith(f"wrong-owner: port {port} is in use by pid {os.getpid()}")
    assert (load.returncode, load.stdout) == (5, "")
    assert f"port {port} is in use by pid {os.getpid()}" in load.stderr
    assert asked == []
    assert f"pid {os.getpid()}" in service["detail"]
    assert service["fix"] is None  # health never suggests a command that kills a stranger


def test_a_service_of_another_project_on_the_port_is_reported_with_its_project(toombos, project, tmp_path_factory):
    other = tmp_path_factory.mktemp("other checkout")
    text = (project / "toombos.toml").read_text()
    (other / "toombos.toml").write_text(text.replace("services.web", "services.shop"))
    toombos("start")
    toombos("stop")
    assert toombos("start", cwd=other).returncode == 0
    try:
        toombos("start")
        code, service = health(toombos)
        assert (code, service["reason"]) == (1, "wrong-owner")
        assert f"shop of the toombos project {other}, which is not web" in service["detail"]
        (found,) = json.loads(toombos("diagnose", "--json", "--only", "port.conflict").stdout)["data"]["findings"]
        assert f"shop of the toombos project {other}" in found["reason"]
        stop, start = found["fix"]["command"].split(" && ")
        assert shlex.split(stop) == ["toombos", "--project", str(other), "stop", "shop"]
        assert shlex.split(start) == ["toombos", "--project", str(project), "start", "web"]
    finally:
        toombos("stop", cwd=other)


def test_a_stranger_in_place_of_a_stopped_service_is_reported(toombos, project):
    toombos("start")
    toombos("stop")
    port = int(next(line for line in (project / "toombos.toml").read_text().splitlines() if "port =" in line)[7:])
    with serve(answer(b"fine"), port=port):
        code, service = health(toombos)
    assert (code, service["status"], service["pid"]) == (0, "up", os.getpid())
    assert "which toombos did not start" in service["detail"]


def test_a_service_that_toombos_never_started_is_judged_only_by_its_response(toombos, project):
    port = int(next(line for line in (project / "toombos.toml").read_text().splitlines() if "port =" in line)[7:])
    with serve(answer(b"fine"), port=port):
        code, service = health(toombos)
    assert (code, service["status"], service["pid"]) == (0, "up", os.getpid())


def _is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
