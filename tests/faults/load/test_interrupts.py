"""Signals to a running `toombos load`: results stay complete, and a generator that was held up says so."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from tests.support.loading import load_server, plan_for, report_of
from tests.support.runner import begin_toombos
from tests.support.waiting import wait_for
from toombos_cli.base.results import Verdict
from toombos_cli.load.engine import closed
from toombos_cli.load.engine.fleet import run_engine
from toombos_cli.load.observer import LoadObserver
from toombos_cli.render.text.load import sentence


@contextmanager
def running(*args: str, connections: int = 1) -> Iterator[subprocess.Popen[str]]:
    """Run `toombos --json load` and wait until it has its connections to the target."""
    with begin_toombos("--json", "load", *args) as process:
        try:
            wait_for(lambda: _keeps(process.pid, connections), within_s=30, what="connections to the target")
            yield process
        finally:
            process.kill()


def _keeps(pid: int, connections: int) -> bool:
    """Return whether it has that many connections for longer than its first check of the target takes."""
    if _connections(pid) < connections:
        return False
    time.sleep(0.1)
    return _connections(pid) >= connections


def _connections(pid: int) -> int:
    family = [psutil.Process(pid), *psutil.Process(pid).children()]
    return sum(len(member.net_connections("tcp")) for member in family)


def _result(process: subprocess.Popen[str]) -> dict[str, Any]:
    text, problems = process.communicate(timeout=30)
    assert text, problems
    document: dict[str, Any] = json.loads(text)
    counts, series = document["data"]["counts"], document["data"]["series"]
    assert counts["scheduled"] == sum(count for name, count in counts.items() if name != "scheduled")
    assert sum(point["sent"] for point in series) == counts["scheduled"] - counts["dropped"]
    assert sum(point["ok"] for point in series) == counts["ok"]
    return document


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "terminate"])
@pytest.mark.parametrize("after_s", [0.4, 1.27])
def test_a_signal_keeps_all_results(after_s, number, code, processes):
    with load_server("fixed:30") as server:
        url = f"http://127.0.0.1:{server.port}/"
        with running(url, "-n", "1000000", "-c", "8", "--processes", str(processes), connections=8) as process:
            time.sleep(after_s)  # the moment of the signal, not a wait for a state
            process.send_signal(number)
            document = _result(process)
    counts = document["data"]["counts"]
    assert process.returncode == document["exit_code"] == code
    assert (counts["censored"], counts["transport_error"], counts["http_error"]) == (8, 0, 0)
    assert 0 <= server.requests - counts["ok"] <= 8
    assert counts["ok"] > 0


@pytest.mark.parametrize(
    "pace",
    [["--rate", "200", "--duration", "3s"], ["--duration", "3s", "-c", "4"]],
    ids=["an open loop", "a closed loop"],
)
def test_a_generator_that_was_suspended_for_half_a_second_reports_that_it_was_held_up(pace):
    with load_server("fixed:5") as server, running(f"http://127.0.0.1:{server.port}/", *pace) as process:
        time.sleep(1.0)  # well into the run
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(process.pid, signal.SIGCONT)
        document = _result(process)
    generator = document["data"]["generator"]
    assert generator["lag_max_us"] >= 450_000
    assert generator["valid"] is False
    assert any("held up" in reason for reason in generator["reasons"])
    assert document["verdict"] == ("error" if "--rate" in pace else "warn")


@pytest.mark.parametrize(
    "settings", [{"requests": 100_000}, {"duration_s": 2.5}], ids=["limited by number", "limited by time"]
)
def test_a_run_with_a_fixed_number_of_requests_ends_if_the_target_is_lost(settings, monkeypatch):
    monkeypatch.setattr(closed, "_PATIENCE_S", 0.5)
    with load_server("fixed:5") as server:
        plan = plan_for(server.port, connections=4, timeout_s=0.5, **settings)
        watching = LoadObserver(on_snapshot=lambda snapshot: server.process.kill() if snapshot.ok > 200 else None)
        report = report_of(plan, run_engine(plan, observer=watching))
        server.process.wait()
    counted = "requests" in settings
    assert report.run.target_lost is counted
    assert (report.verdict is Verdict.FAIL) is counted
    assert report.counts.ok > 200
    assert report.run.duration_s < 20
    assert ("the target was lost" in sentence(report)) is counted


def test_a_signal_during_the_start_ends_the_run_at_once():
    with load_server("fixed:0") as server:
        for after_s in (0.15, 0.3, 0.45, 0.6, 0.75):
            argv = ("load", f"http://127.0.0.1:{server.port}/", "--duration", "20s", "--processes", 2)
            with begin_toombos(*argv) as process:
                try:
                    time.sleep(after_s)  # at any point during the start
                    process.send_signal(signal.SIGINT)
                    process.communicate(timeout=10)
                finally:
                    process.kill()
            assert process.returncode != 0


@pytest.mark.parametrize("processes", [1, 2])
def test_the_child_processes_end_when_load_is_killed(processes):
    with load_server("fixed:5") as server:
        url = f"http://127.0.0.1:{server.port}/"
        with running(url, "--duration", "60s", "--processes", str(processes), connections=8) as process:
            family = psutil.Process(process.pid).children(recursive=True)
            process.kill()
        _, alive = psutil.wait_procs(family, timeout=10)
    assert family
    assert not alive
