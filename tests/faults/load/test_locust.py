"""Real Locust runs: a master and two workers on loopback, whose counts agree with those of the server."""

import contextlib
import importlib.util
import json
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.loading import load_server
from tests.support.programs import needs
from tests.support.runner import Toombos, begin_toombos
from tests.support.shop_server import shop
from tests.support.waiting import wait_for


def connections_of(pid: int) -> int:
    return sum(c.status == psutil.CONN_ESTABLISHED for c in psutil.Process(pid).net_connections("tcp"))


@pytest.fixture(autouse=True)
def _locust_is_installed():
    if importlib.util.find_spec("locust") is None:
        needs("locust")


def test_a_master_and_two_workers_send_exactly_the_requested_number(toombos: Toombos):
    with load_server("error:5") as server:
        url = f"http://127.0.0.1:{server.port}/x"
        done = toombos("--json", "load", url, "-n", "501", "-c", "6", "-d", "{}", "--locust-workers", "2")
    data = json.loads(done.stdout)["data"]
    counts = data["counts"]
    assert server.requests == counts["scheduled"] == counts["ok"] + counts["http_error"] == 501
    assert data["status"] == {"200": 401, "500": 100}
    assert sum(point["sent"] for point in data["series"]) == 501
    assert data["latency_us"]["service"]["count"] == 501
    assert data["generator"]["lag_p99_us"] is None, "Locust does not measure it"
    assert any("coordinated omission" in note for note in data["notes"])
    assert done.returncode == 0, done.stderr


def test_locust_sends_every_header_and_judges_by_the_expected_status(toombos: Toombos):
    with shop() as server:
        url = f"http://127.0.0.1:{server.port}/missing"
        argv = ("-n", "20", "-c", "2", "-H", "X-Tag: a", "-H", "x-tag: b", "--expect-status", "404")
        done = toombos("--json", "load", url, *argv, "--locust-workers", "1")
    data = json.loads(done.stdout)["data"]
    assert data["counts"]["ok"] == server.seen["GET /missing"] == 20
    assert [value for name, value in server.last_headers if name == "x-tag"] == ["a", "b"]


def test_a_master_waits_for_workers_that_were_started_elsewhere(tmp_path: Path):
    """Remote workers have neither the plan nor a file and get both from the master, which has its own address."""
    master = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(1, 254)}"
    with load_server("fixed:1") as server, contextlib.ExitStack() as stack:
        argv = ("--json", "load", f"http://127.0.0.1:{server.port}/", "-n", 201, "-c", 4, "--locust-workers", 2)
        run = stack.enter_context(begin_toombos(*argv, "--locust-master", master, cwd=tmp_path))
        stack.callback(run.kill)
        worker = [sys.executable, "-m", "locust", "-f", "-", "--worker", "--master-host", master]
        for index in range(2):
            log = stack.enter_context((tmp_path / f"worker-{index}.log").open("wb"))
            process = stack.enter_context(subprocess.Popen(worker, cwd=tmp_path, stdout=log, stderr=log))
            stack.callback(process.kill)  # it ends with the master; this is for a failed test
        text, problems = run.communicate(timeout=90)
    assert run.returncode == 0, problems
    counts = json.loads(text)["data"]["counts"]
    assert server.requests == counts["scheduled"] == counts["ok"] == 201


def test_a_run_whose_workers_are_lost_fails_and_reports_how_far_it_came():
    with load_server("fixed:10") as server:
        url = f"http://127.0.0.1:{server.port}/"
        argv = ("load", url, "-n", 100_000, "-c", 4, "--timeout", "1s", "--locust-workers", 2)
        with begin_toombos(*argv) as process:
            try:
                wait_for(lambda: connections_of(server.process.pid) >= 4, within_s=60, what="load from Locust")
                for child in psutil.Process(process.pid).children():
                    if "--worker" in child.cmdline():
                        child.kill()
                _, problems = process.communicate(timeout=90)
            finally:
                process.kill()
    assert process.returncode == 4
    assert re.search(r"Locust counted \d+ of 100000 requests: .*no worker has reported a request for 16 s", problems)


def test_ctrl_c_ends_all_locust_processes_and_keeps_the_results():
    with load_server("fixed:10") as server:
        url = f"http://127.0.0.1:{server.port}/"
        argv = ("--json", "load", url, "--duration", "60s", "-c", 4, "--locust-workers", 2)
        with begin_toombos(*argv) as process:
            wait_for(lambda: connections_of(server.process.pid) >= 4, within_s=60, what="load from Locust")
            family = psutil.Process(process.pid).children(recursive=True)
            time.sleep(1.5)  # time for some load, not a wait for a state
            process.send_signal(signal.SIGINT)
            text, problems = process.communicate(timeout=60)
    document = json.loads(text or problems)
    assert process.returncode == document["exit_code"] == 130
    assert 0 <= server.requests - document["data"]["counts"]["scheduled"] <= 4
    assert document["data"]["counts"]["ok"] > 50
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--locust-workers", "0"], "--locust-workers: must be above 0"),
        (["--locust-workers", "2", "--rate", "5", "--arrival", "poisson"], "Locust has no Poisson arrivals"),
        (["--locust-workers", "2", "--warmup", "1s"], "no warm-up"),
        (["--locust-workers", "5", "-c", "2"], "5 workers cannot share 2 users"),
        (["--locust-master", "127.0.0.1"], "--locust-master: needs --locust-workers"),
        (["--locust-workers", "2", "--cookies"], "Locust cannot send this plan: it has no cookies"),
        (["--locust-workers", "2", "--follow-redirects"], "Locust cannot send this plan: it has no redirects"),
    ],
)
def test_options_that_locust_does_not_support_are_refused(args, message, toombos: Toombos):
    with load_server("fixed:0") as server:
        done = toombos("load", f"http://127.0.0.1:{server.port}/", *args)
    assert done.returncode == 2
    assert message in done.stderr
    assert server.requests == 0
