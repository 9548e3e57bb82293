"""Healthy systems of programs that nobody here wrote raise no alarm, also on a busy machine.

The programs are those on PATH; a system whose program is missing is skipped.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.foreign import ForeignSystem, Keys
from tests.support.programs import needs

_BUSY_LOOPS, _TIMES = 4, 3
PAGE: Keys = {"health_answer": "page"}


def datasette(system: ForeignSystem) -> None:
    system.add(
        "data", [needs("datasette"), "serve", "--memory", "-h", "{host}", "-p", "{port}"], health="/-/versions.json"
    )


def jupyter(system: ForeignSystem) -> None:
    (system.project / "home").mkdir()
    options = ["--allow-root", "--no-browser", "--ServerApp.ip={host}", "--port={port}", "--IdentityProvider.token="]
    env = {"HOME": str(system.project / "home")}
    system.add("notes", [needs("jupyter-server"), *options], health="/api", health_answer="any", env=env)


def prefect(system: ForeignSystem) -> None:
    env = {"PREFECT_HOME": str(system.project / "home"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [needs("prefect"), "server", "start", "--host", "{host}", "--port", "{port}"]
    system.add("flows", command, health="/api/health", health_answer="any", env=env, startup_timeout_s=120)


def devpi(system: ForeignSystem) -> None:
    place = ["--serverdir", str(system.project / "packages")]
    subprocess.run([needs("devpi-init"), *place, "--no-root-pypi"], check=True, capture_output=True)
    command = [needs("devpi-server"), *place, "--host", "{host}", "--port", "{port}"]
    system.add("packages", command, health="/+api", health_answer="any", startup_timeout_s=60)


def verdaccio(system: ForeignSystem) -> None:
    (system.project / "config.yaml").write_text(
        "storage: ./storage\nauth: {htpasswd: {file: ./htpasswd}}\nuplinks: {}\npackages: {'**': {access: $all}}\n"
    )
    command = [needs("verdaccio"), "--config", "config.yaml", "--listen", "{host}:{port}"]
    system.add("modules", command, health="/-/ping", health_answer="any", startup_timeout_s=60)


def node_red(system: ForeignSystem) -> None:
    settings = 'module.exports = {uiHost: "127.0.0.1", uiPort: process.env.PORT, flowFile: "flows.json"}\n'
    (system.project / "settings.js").write_text(settings)
    command = [needs("node-red"), "--userDir", str(system.project / "red"), "--settings", "settings.js"]
    system.add("flows", command, health="/settings", health_answer="any", env={"PORT": "{port}"}, startup_timeout_s=60)


def json_server(system: ForeignSystem) -> None:
    (system.project / "db.json").write_text('{"books": [{"id": 1, "title": "Moby-Dick"}]}')
    command = [needs("json-server"), "--host", "{host}", "--port", "{port}", "db.json"]
    system.add("books", command, health="/books", health_answer="any")


def httpbin_under_tls(system: ForeignSystem) -> None:
    server = Path(needs("flask")).with_name("gunicorn")  # of the interpreter that has httpbin
    imports = [server.with_name("python3"), "-c", "import httpbin"]
    if subprocess.run(imports, check=False, capture_output=True).returncode:
        pytest.skip("httpbin is not installed")
    authority = Authority(system.project)
    certificate = str(authority.issue(hosts=("localhost",)))
    command = [str(server), "--certfile", certificate, "--bind", "127.0.0.1:{port}", "httpbin:app"]
    keys: Keys = {"scheme": "https", "host": "localhost", "ca_file": str(authority.ca_file)}
    system.add("echo", command, health="/status/200", health_answer="any", **keys)


SYSTEMS: dict[str, Callable[[ForeignSystem], None]] = {
    "datasette": datasette,
    "jupyter-server": jupyter,
    "prefect": prefect,
    "devpi": devpi,
    "verdaccio": verdaccio,
    "node-red": node_red,
    "json-server": json_server,
    "httpbin under TLS": httpbin_under_tls,
}


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keep so many processes computing."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


@pytest.mark.full
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_healthy_system_raises_no_alarm(system: ForeignSystem, name: str) -> None:
    SYSTEMS[name](system)
    system.start()
    for loops in (0, _BUSY_LOOPS):
        with busy(loops):
            for _ in range(_TIMES):
                assert system.alarms() == []
