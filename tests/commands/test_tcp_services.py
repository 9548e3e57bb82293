"""A service that does not speak HTTP: start, health and supervision depend on whether it accepts connections."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.support.ports import free_port

CACHE = """
import socketserver
import sys


class Cache(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(b"-ERR " + line)


Cache(("127.0.0.1", int(sys.argv[1])), Lines).serve_forever()
"""


@pytest.fixture
def cache(tmp_path: Path, toombos) -> Path:
    (tmp_path / "cache.py").write_text(CACHE)
    (tmp_path / "toombos.toml").write_text(
        f"""\
[services.cache]
command = ["{{python}}", "cache.py", "{{port}}"]
port = {free_port()}
scheme = "tcp"
startup_timeout_s = 20
"""
    )
    return tmp_path


def test_the_service_is_ready_and_healthy_while_it_accepts_connections(cache, toombos):
    assert toombos("health").returncode == 1
    assert toombos("start").returncode == 0
    shown = toombos("health", "--verbose")
    assert shown.returncode == 0
    assert "connect tcp://127.0.0.1:" in shown.stdout
    assert ": accepted from 127.0.0.1" in shown.stdout
    assert toombos("smoke", "--wait", "5").returncode == 0
    assert toombos("diagnose").returncode == 0
    assert toombos("status").returncode == 0


def test_a_suspended_service_is_down_although_the_kernel_accepts_its_connections(cache, toombos):
    toombos("start")
    (row,) = json.loads(toombos("status", "--json").stdout)["data"]["services"]
    os.kill(row["pid"], signal.SIGSTOP)
    try:
        shown = toombos("health")
        assert shown.returncode == 1
        assert f"kill -CONT {row['pid']}" in shown.stdout
    finally:
        os.kill(row["pid"], signal.SIGCONT)


def test_a_start_that_expects_http_names_the_key_to_change(cache, toombos):
    manifest = (
        (cache / "toombos.toml").read_text().replace('scheme = "tcp"\nstartup_timeout_s = 20', "startup_timeout_s = 1")
    )
    (cache / "toombos.toml").write_text(manifest)
    done = toombos("start")
    assert done.returncode == 4
    assert "is not valid HTTP" in done.stderr
    assert "; if it speaks no HTTP: scheme = 'tcp' in [services.cache]" in done.stderr


def test_a_path_for_the_service_is_refused_with_its_line(cache, toombos):
    with (cache / "toombos.toml").open("a") as file:
        file.write('ready = "/ready"\n')
    done = toombos("status")
    assert done.returncode == 3
    assert "toombos.toml:6: services.cache: ready is a path, but scheme = 'tcp' has no paths" in done.stderr


def test_a_stopped_database_is_one_cause_with_the_command_that_starts_it(cache, toombos):
    manifest = (cache / "toombos.toml").read_text()
    port = int(manifest.partition("port = ")[2].split()[0])
    (cache / "toombos.toml").write_text(
        f"""\
{manifest}
[services.web]
command = ["{{python}}", "-m", "http.server", "{{port}}", "--bind", "{{host}}"]
port = {free_port()}
health = "/"
health_answer = "page"
[environment.DATABASE_URL]
description = "Where the data is"
type = "dsn"
role = "database"
used_by = ["web"]
"""
    )
    (cache / ".env").write_text(f"DATABASE_URL=postgresql://me:geheim123@127.0.0.1:{port}/x\n")
    (cache / ".env").chmod(0o600)
    assert toombos("start").returncode == 0
    assert toombos("stop", "cache").returncode == 0
    found = json.loads(toombos("diagnose", "--json").stdout)["data"]
    assert found["roots"] == ["proc.missing"]
    (root,) = (f for f in found["findings"] if f["id"] == "proc.missing" and f["verdict"] == "fail")
    assert root["fix"]["command"].endswith("start cache")
