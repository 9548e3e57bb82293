"""`toombos health --wait`, by which a unit of systemd becomes active."""

import threading
import time
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from tests.support.ports import free_port
from tests.support.runner import run_toombos


@pytest.fixture
def shop(tmp_path: Path):
    """A project with one service, and its port."""
    port = free_port()
    (tmp_path / "toombos.toml").write_text(f'[services.shop]\ncommand = ["shop"]\nport = {port}\nhealth = "/"\n')
    return tmp_path, port


def test_it_returns_once_a_service_that_somebody_else_starts_is_ready(shop):
    project, port = shop
    server = HTTPServer(port=port)
    server.expect_request("/").respond_with_json({"status": "ok"})
    starting = threading.Timer(1.0, server.start)
    starting.start()
    done = run_toombos("health", "shop", "--wait", "30", cwd=project)
    starting.join()
    server.stop()
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_gives_up_after_the_time_and_says_what_is_wrong(shop):
    project, _ = shop
    begun = time.monotonic()
    done = run_toombos("health", "shop", "--wait", "1", cwd=project)
    assert done.returncode == 1
    assert time.monotonic() - begun >= 1
    assert "refused" in done.stdout
