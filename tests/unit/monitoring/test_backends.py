"""How monitoring runs: in containers if an engine responds, else as native programs, else an error with the remedy.

No container engine is needed: a `docker` that records its arguments stands in for one, so these tests show what docker
is asked to do, not that it does it.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.ports import free_port
from toombos_cli.base.errors import OperationError
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.monitoring import backends
from toombos_cli.monitoring.backends import BackendKind

DOCKER = f"""#!{sys.executable}
import os, pathlib, sys
with open(os.environ["DOCKER_LOG"], "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
if sys.argv[1] == "version" and os.environ.get("ENGINE") != "up":
    sys.exit("Cannot connect to the Docker daemon")
if "up" in sys.argv and os.environ.get("PULL") == "fails":
    sys.exit("manifest for prom/prometheus not found")
if "logs" in sys.argv:
    print("prometheus-1  | ready")
"""


@pytest.fixture
def programs(tmp_path_factory, monkeypatch):
    """An empty PATH; `programs("prometheus")` adds a program of that name."""
    directory = tmp_path_factory.mktemp("bin")
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setenv("DOCKER_LOG", str(directory / "log"))

    def install(*names: str, engine: str = "down") -> Path:
        monkeypatch.setenv("ENGINE", engine)
        for name in names:
            (directory / name).write_text(DOCKER if name == "docker" else "#!/bin/sh\n")
            (directory / name).chmod(0o755)
        return directory / "log"

    return install


def chosen(project, backend="auto"):
    with (project / "toombos.toml").open("a") as file:
        file.write(f'[monitoring]\nbackend = "{backend}"\n')
    return backends.choose_backend(load_manifest(project))


def test_containers_are_used_if_an_engine_responds(project, programs):
    programs("docker", "prometheus", engine="up")
    backend = chosen(project)
    assert backend.kind is BackendKind.COMPOSE
    assert set(backend.contained) == {"prometheus", "alertmanager", "host", "grafana"}
    assert backend.supervised == ("alerts",)


def test_native_programs_are_used_if_docker_has_no_engine(project, programs):
    programs("docker", "prometheus", "prometheus-alertmanager")
    backend = chosen(project)
    assert backend.kind is BackendKind.NATIVE
    assert backend.supervised == ("alerts", "alertmanager", "prometheus")
    assert {item.service: item.hint.split("  #")[0] for item in backend.missing} == {
        "host": "apt-get install prometheus-node-exporter",
        "grafana": "apt-get install grafana",
    }
    assert "no docker engine responds" in backend.reason


def test_native_programs_are_used_on_request_even_if_an_engine_responds(project, programs):
    programs("docker", "prometheus", engine="up")
    assert chosen(project, "native").kind is BackendKind.NATIVE


def test_the_error_without_either_names_the_install_command(project, programs):
    programs()
    with pytest.raises(OperationError) as caught:
        chosen(project)
    problem = caught.value.problems[0]
    assert "Prometheus is not installed" in problem.message
    assert "docker is not installed" in problem.message
    assert problem.hint == "apt-get install prometheus prometheus-alertmanager prometheus-node-exporter"


def test_requested_containers_are_refused_without_an_engine(project, programs):
    programs("docker", "prometheus")
    with pytest.raises(OperationError, match="no docker engine responds"):
        chosen(project, "compose")


@pytest.fixture
def composed(project, programs, toombos, httpserver):
    """A project whose monitoring runs in "containers": the test's server is ready once docker was asked for `up`."""
    log = programs("docker", engine="up")

    def ready(_):
        from werkzeug import Response

        return Response("", status=200 if log.exists() and " up " in log.read_text() else 503)

    httpserver.expect_request("/-/ready").respond_with_handler(ready)
    services = {"prometheus": "", "alertmanager": "enabled = false\n", "host": "enabled = false\n"}
    services["grafana"] = "enabled = false\n"
    text = (project / "toombos.toml").read_text()
    for name, more in services.items():
        port = httpserver.port if name == "prometheus" else free_port()
        text += f'[services.{name}]\nport = {port}\nhost = "{httpserver.host}"\n{more}'
    (project / "toombos.toml").write_text(text + f"[services.alerts]\nport = {free_port()}\n")
    env = {"PATH": f"{log.parent}:{os.defpath}", "ENGINE": "up", "DOCKER_LOG": str(log)}
    return project, lambda *args, **more: toombos(*args, env=env | more), log


def test_up_logs_and_down_call_compose(composed):
    project, toombos, log = composed
    up = toombos("monitoring", "up", "--json")
    assert up.returncode == 0, up.stdout + up.stderr
    assert json.loads(up.stdout)["data"]["backend"] == "compose"
    file = project / "run" / "monitoring" / "compose.yml"
    assert f"compose --file {file} up --detach --remove-orphans" in log.read_text()
    lines = json.loads(toombos("monitoring", "logs", "prometheus", "--json").stdout)["data"]["lines"]
    assert [(line["service"], line["line"]) for line in lines] == [("prometheus", "ready")]
    assert toombos("monitoring", "logs", "prometheus", "-f").stdout == "ready\n"  # the stub ends at once
    toombos("monitoring", "down")
    assert f"compose --file {file} down --remove-orphans" in log.read_text()


def test_containers_that_fail_to_start_exit_4_with_the_last_line_of_docker(composed):
    _, toombos, _ = composed
    done = toombos("monitoring", "up", PULL="fails")
    assert done.returncode == 4
    assert "manifest for prom/prometheus not found" in done.stderr


def test_the_compose_file_is_valid_for_docker_compose(project):
    """Needs the compose plugin, but no engine."""
    import subprocess

    from toombos_cli.monitoring.files import directory_of, write_files

    if shutil.which("docker") is None or backends_compose_missing():
        pytest.skip("docker compose is not installed")
    write_files(load_manifest(project))
    argv = ["docker", "compose", "--file", directory_of(project) / "compose.yml", "config", "--quiet"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def backends_compose_missing() -> bool:
    import subprocess

    return subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0
