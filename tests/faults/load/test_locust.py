"""Real Locust runs: a master and its workers on loopback, whose counts agree with those of the server."""

import contextlib
import importlib.util
import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.faults.load.test_scenarios import BUYER
from tests.support.loading import load_server
from tests.support.programs import needs
from tests.support.runner import Toombos, begin_toombos, data_of
from tests.support.shop_server import shop
from tests.support.waiting import wait_for


def connections_of(pid: int) -> int:
    return sum(c.status == psutil.CONN_ESTABLISHED for c in psutil.Process(pid).net_connections("tcp"))


@pytest.fixture(autouse=True)
def _locust_is_installed():
    if importlib.util.find_spec("locust") is None:
        needs("locust")


@pytest.fixture
def buyers(tmp_path: Path) -> Path:
    """A scenario of users with data, captures, cookies, checks and pauses."""
    people = "".join(f"N{number},red\n" for number in range(50))
    (tmp_path / "people.csv").write_text(f"name,team\n{people}")
    (tmp_path / "buyers.toml").write_text(BUYER.replace("THINK", "think_s = 0.01"))
    return tmp_path / "buyers.toml"


def test_two_workers_send_exactly_the_requested_number(toombos: Toombos):
    with load_server("error:5") as server:
        url = f"http://127.0.0.1:{server.port}/x"
        argv = ("-n", "501", "-c", "6", "-d", "{}", "--slo", "error_rate<30%,p99<5s", "--locust-workers", "2")
        done = toombos("--json", "load", url, *argv)
    data = data_of(done)
    counts = data["counts"]
    assert server.requests == counts["scheduled"] == counts["ok"] + counts["http_error"] == 501
    assert data["status"].keys() == {"200", "500"}
    assert 100 <= data["status"]["500"] <= 101
    assert sum(point["sent"] for point in data["series"]) == 501
    assert data["latency_us"]["service"]["count"] == data["latency_us"]["ttfb"]["count"] == 501
    assert data["latency_us"]["connect"]["count"] == data["generator"]["connections"] == 6
    assert data["plan"]["processes"] == 2
    assert re.fullmatch("sent by 2 Locust workers on .+", data["notes"][0])
    assert done.returncode == 0, done.stderr


def test_workers_elsewhere_get_the_users_and_their_data(buyers: Path, tmp_path_factory: pytest.TempPathFactory):
    """They have no file of their own: the plan and its data come from the master, which has its own address."""
    master = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(1, 254)}"
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with shop() as server, contextlib.ExitStack() as stack:
        url = f"http://127.0.0.1:{server.port}/"
        argv = ("--json", "load", url, "--scenario", buyers, "-n", 200, "-c", 6, "--locust-workers", 2)
        run = stack.enter_context(begin_toombos(*argv, "--locust-master", master, cwd=buyers.parent))
        stack.callback(run.kill)
        worker = [sys.executable, "-m", "locust", "-f", "-", "--worker", "--master-host", master]
        for index in range(2):
            own = elsewhere / f"host-{index}"
            own.mkdir()
            log = stack.enter_context((own / "log").open("wb"))
            environment = {**os.environ, "TMPDIR": str(own)}  # where Locust puts the file that it gets
            process = stack.enter_context(subprocess.Popen(worker, cwd=own, env=environment, stdout=log, stderr=log))
            stack.callback(process.kill)  # it ends with the master; this is for a failed test
        text, problems = run.communicate(timeout=90)
    assert run.returncode == 0, problems
    data = json.loads(text)["data"]
    assert data["unmet"] == []
    assert sum(server.seen.values()) == data["counts"]["scheduled"] == data["counts"]["ok"] == 200
    assert {name: found["counts"]["ok"] for name, found in data["endpoints"].items()} == {
        "buyer: login": len(server.logins),
        "buyer: order": len(server.orders),
        "buyer: look": 200 - len(server.logins) - len(server.orders),
    }
    items = [order["item"] for order in server.orders]
    assert len(set(items)) == len(items), "a counter never gives a number twice"
    names = [login["name"] for login in server.logins]
    assert len(set(names)) > len(names) / 2, "each worker has lines of its own"


def test_a_run_whose_worker_is_lost_fails_and_reports_how_far_it_came():
    with load_server("fixed:10") as server:
        argv = ("load", f"http://127.0.0.1:{server.port}/", "-n", 100_000, "-c", 4, "--locust-workers", 2)
        with begin_toombos(*argv) as process:
            try:
                wait_for(lambda: connections_of(server.process.pid) >= 4, within_s=60, what="load from Locust")
                family = psutil.Process(process.pid).children(recursive=True)
                next(child for child in family if "--worker" in child.cmdline()).kill()
                _, problems = process.communicate(timeout=30)
            finally:
                process.kill()
        _, alive = psutil.wait_procs(family, timeout=10)
    assert process.returncode == 4
    assert re.search(r"the worker on .+ \(pid \d+\) was lost \d+ s after the start; \d+ requests had been", problems)
    assert not alive, "nothing sends once the run has ended"


@pytest.mark.parametrize(
    "ends", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.full)], ids=["Ctrl-C", "a kill"]
)
def test_the_end_of_toombos_is_the_end_of_all_its_processes(ends: signal.Signals):
    with load_server("fixed:10") as server:
        url = f"http://127.0.0.1:{server.port}/"
        argv = ("--json", "load", url, "--duration", "60s", "-c", 4, "--locust-workers", 2)
        with begin_toombos(*argv) as process:
            wait_for(lambda: connections_of(server.process.pid) >= 4, within_s=60, what="load from Locust")
            family = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(ends)
            text, problems = process.communicate(timeout=60)
            _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
    if ends is signal.SIGINT:
        document = json.loads(text or problems)
        assert process.returncode == document["exit_code"] == 130
        assert server.requests == document["data"]["counts"]["scheduled"]
        assert document["data"]["counts"]["ok"] > 0


def test_load_that_workers_elsewhere_would_put_on_themselves_is_refused(toombos: Toombos):
    with load_server("fixed:0") as server:
        url = f"http://127.0.0.1:{server.port}/"
        done = toombos("load", url, "--locust-workers", "2", "--locust-master", "10.0.0.1")
    assert done.returncode == 2
    assert "--locust-master: workers on other machines would each load their own 127.0.0.1" in done.stderr
    assert server.requests == 0
