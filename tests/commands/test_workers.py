"""A worker without a port: start, health and supervision depend on whether its process runs."""

import json
import os
import signal
from pathlib import Path

import pytest

WORKER = "import time\nprint('worker begins', flush=True)\ntime.sleep(600)\n"


@pytest.fixture
def worker(tmp_path: Path, toombos) -> Path:
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "toombos.toml").write_text(
        '[services.worker]\ncommand = ["{python}", "worker.py"]\nscheme = "none"\ngrace_period_s = 2\n'
    )
    return tmp_path


def row(toombos):
    (found,) = json.loads(toombos("status", "--json").stdout)["data"]["services"]
    return found


def test_the_worker_is_ready_and_healthy_while_its_process_runs(worker, toombos):
    assert toombos("health").returncode == 1
    assert toombos("start").returncode == 0
    assert (row(toombos)["phase"], row(toombos)["port"]) == ("ready", None)
    (judged,) = json.loads(toombos("health", "--json").stdout)["data"]["services"]
    assert (judged["status"], judged["pid"], judged["url"]) == ("up", row(toombos)["pid"], "")
    assert str(judged["pid"]) in toombos("health", "--verbose").stdout.split()
    for line in ("smoke --wait 5", "diagnose", "config check", "status", "health --format nagios"):
        done = toombos(*line.split())
        assert done.returncode == 0, (line, done.stdout, done.stderr)


def test_a_worker_that_ends_at_once_fails_to_start_with_the_reason(worker, toombos):
    (worker / "worker.py").write_text("pront('x')\n")
    done = toombos("start")
    assert done.returncode == 4
    assert "worker: its process ended with exit code 1" in done.stderr
    assert "NameError" in done.stderr


def test_a_stopped_or_suspended_worker_is_down_with_the_command_that_helps(worker, toombos):
    toombos("start")
    pid = row(toombos)["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        suspended = toombos("health")
        assert suspended.returncode == 1
        assert f"kill -CONT {pid}" in suspended.stdout
    finally:
        os.kill(pid, signal.SIGCONT)
    toombos("stop", "worker")
    stopped = toombos("health")
    assert stopped.returncode == 1
    assert "its process is not running" in stopped.stdout
    assert "start" in stopped.stdout
    assert "health-worker" in toombos("smoke").stdout


def test_the_preview_shows_no_address_for_a_worker(worker, toombos):
    shown = toombos("start", "--preview").stdout
    assert "1. worker\n" in shown
    assert ":0" not in shown
