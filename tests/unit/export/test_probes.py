"""The probes of other engines, run as they run them: a shell with curl against a real server."""

import shutil
import subprocess
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from toombos_cli.export.probes import curl_script, curl_words, probe_of
from toombos_cli.manifest.tables.expectations import Expectation
from toombos_cli.manifest.tables.service import Service

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def service_at(port: int, health: Any, **keys: Any) -> Service:
    return Service(name="shop", command=("shop",), port=port, health=health, **keys)


@pytest.fixture
def server(httpserver: HTTPServer) -> HTTPServer:
    httpserver.expect_request("/health", method="GET", headers={"X-Key": "k3y"}).respond_with_data("all well", 200)
    httpserver.expect_request("/made", method="POST").respond_with_data("made", 201)
    httpserver.expect_request("/gone").respond_with_data("gone", 410)
    httpserver.expect_request("/moved").respond_with_data("", 304)
    return httpserver


KEY = {"X-Key": "${env.KEY}"}
JUDGED = {
    "the status is the expected one": (Expectation(path="/gone", status=410), True),
    "the status is another one": (Expectation(path="/gone", status=200), False),
    "the status is one of several": (Expectation(path="/gone", status=(200, 410)), True),
    "the status is in the class": (Expectation(path="/gone", status="4xx"), True),
    "the status is in another class": (Expectation(path="/gone", status="2xx"), False),
    "another method": (Expectation(path="/made", method="POST"), True),
    "another method and its status": (Expectation(path="/made", method="POST", status=200), False),
    "the header is filled in from a variable": (Expectation(path="/health", headers=KEY, status=200), True),
    "the header is missing": (Expectation(path="/health", status=200), False),
    "the text is there": (Expectation(path="/health", headers=KEY, text="^all w"), True),
    "the text is not there": (Expectation(path="/health", headers=KEY, text="ill"), False),
    "the text has a quote": (Expectation(path="/health", headers=KEY, text="it's"), False),
}


@needs_curl
@pytest.mark.parametrize(("asked", "well"), JUDGED.values(), ids=JUDGED.keys())
def test_the_line_for_a_shell_judges_as_the_manifest_does(server, asked, well):
    service = service_at(server.port, asked)
    script = curl_script(service, service.expectation("health"), host="127.0.0.1")
    done = subprocess.run(["sh", "-c", script], env={"PATH": "/usr/bin:/bin", "KEY": "k3y"}, capture_output=True)
    assert (done.returncode == 0) is well, done.stderr


@needs_curl
@pytest.mark.parametrize(("path", "well"), [("/moved", True), ("/gone", False)], ids=["304", "410"])
def test_a_plain_get_fails_from_status_400_on(server, path, well):
    probe = probe_of(service_at(server.port, path), "health")
    assert probe is not None
    assert probe.is_plain_get
    done = subprocess.run(curl_words(probe, host="127.0.0.1", insecure=False), capture_output=True)
    assert (done.returncode == 0) is well


LOST = {
    "a condition on JSON": (Expectation(path="/health", status=200, json={"status": "ok"}), {}, ["json"]),
    "the words of a health response": ("/health", {"health_answer": "status"}, ["health_answer"]),
    "the output of a command": (Expectation(command=("true",), text="ok"), {"scheme": "tcp"}, ["text"]),
    "nothing of a status": (Expectation(path="/health", status=200), {}, []),
}


@pytest.mark.parametrize(("health", "keys", "lost"), LOST.values(), ids=LOST.keys())
def test_what_no_engine_judges_is_named(health, keys, lost):
    probe = probe_of(service_at(8000, health, **keys), "ready")
    assert probe is not None
    assert [key for key, _ in probe.lost] == lost


def test_a_worker_has_no_probe():
    assert probe_of(Service(name="w", command=("w",), scheme="none"), "ready") is None
