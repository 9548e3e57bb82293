"""Load from several hosts: the master on one, each worker and the server on others, joined by a bridge."""

import contextlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.load.test_scenarios import BUYER
from tests.support.hosts import Host, hosts
from tests.support.programs import needs
from tests.support.runner import begin_toombos
from tests.support.shop_server import Shop, shop
from tests.support.waiting import wait_for

pytestmark = pytest.mark.full


@dataclass
class Site:
    """A master, three hosts of workers, and a shop on a fifth."""

    master: Host
    workers: list[Host]
    server: Shop
    url: str
    directory: Path

    def begin(self, *args: object) -> "subprocess.Popen[str]":
        """Start a load test of the shop whose master waits for three workers."""
        target = ("--json", "load", self.url, "--allow-target", "10.77.0.5", *args)
        fleet = ("--locust-workers", 3, "--locust-master", self.master.address)
        return begin_toombos(*target, *fleet, cwd=self.directory, through=self.master.through)

    @contextlib.contextmanager
    def working(self, *, instead_of_toombos: str = "") -> Iterator[None]:
        """Run a worker on each host; the last one may have another `toombos_cli`."""
        argv = [sys.executable, "-m", "locust", "-f", "-", "--worker", "--master-host", self.master.address]
        with contextlib.ExitStack() as stack:
            for number, host in enumerate(self.workers):
                own = self.directory / f"host-{number}"
                own.mkdir()
                environment = {**os.environ, "TMPDIR": str(own)}  # where Locust puts the file that it gets
                if instead_of_toombos and host is self.workers[-1]:
                    (own / "toombos_cli").mkdir()
                    (own / "toombos_cli/__init__.py").write_text(instead_of_toombos)
                    environment["PYTHONPATH"] = str(own)
                log = stack.enter_context((own / "log").open("wb"))
                process = subprocess.Popen([*host.through, *argv], cwd=own, env=environment, stdout=log, stderr=log)
                stack.enter_context(process)
                stack.callback(process.kill)
            yield


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    if importlib.util.find_spec("locust") is None:
        needs("locust")
    people = "".join(f"N{number},red\n" for number in range(5000))
    (tmp_path / "people.csv").write_text(f"name,team\n{people}")
    (tmp_path / "buyers.toml").write_text(BUYER.replace("THINK", "think_s = [0.01, 0.05]"))
    with hosts(5) as (master, *workers, last), shop(host=last) as server:
        yield Site(master, workers, server, f"http://{last.address}:{server.port}/", tmp_path)


LOADS = {
    "a number of requests": (("-n", 3001, "-c", 31), 3001),
    "a rate": (("--rate", 300, "--duration", "5s"), 1500),
    "random times": (("--rate", 300, "--duration", "5s", "--arrival", "poisson"), None),
}


@pytest.mark.parametrize(("load", "requests"), LOADS.values(), ids=LOADS)
def test_one_report_counts_what_the_server_has_seen_from_all_hosts(site: Site, load: tuple[object, ...], requests: int):
    page = site.directory / "page.html"
    judged = ("--slo", "p99<2s,error_rate<1%", "--html", page)
    with site.begin("--scenario", "buyers.toml", *load, *judged) as run, site.working():
        text, problems = run.communicate(timeout=120)
    data = json.loads(text)["data"]
    is_busy = not data["generator"]["valid"]  # a busy machine sends late, which leaves an open loop undecided
    assert run.returncode == (4 if is_busy else 0), problems
    server = site.server
    assert data["unmet"] == data["errors"] == []
    assert sum(server.seen.values()) == data["counts"]["scheduled"] == data["counts"]["ok"]
    assert requests in (None, data["counts"]["ok"])
    assert data["endpoints"]["buyer: login"]["counts"]["ok"] == len(server.logins)
    assert data["endpoints"]["buyer: order"]["counts"]["ok"] == len(server.orders)
    looked = {site.master.address}  # toombos looks whether the server is there
    assert {str(peer).split("'")[1] for peer in server.peers} - looked == {host.address for host in site.workers}
    names = [login["name"] for login in server.logins]
    assert len(set(names)) == len(names), "no line of the data is used twice before its end"
    assert [objective["verdict"] for objective in data["slo"]] == ["pass", "pass"]
    assert data["latency_us"]["ttfb"]["count"] == data["counts"]["ok"]
    assert "3 Locust workers" in page.read_text()


OTHERS = {
    "a worker of another version": ("__version__ = '0.1'", r"has toombos 0\.1, and this is"),
    "a worker without toombos": ("raise ImportError", "has no toombos, and this is"),
}


@pytest.mark.parametrize(("instead", "message"), OTHERS.values(), ids=OTHERS)
def test_nothing_is_sent_with(site: Site, instead: str, message: str):
    with site.begin("-n", 100) as run, site.working(instead_of_toombos=instead):
        text, _ = run.communicate(timeout=60)
    assert run.returncode == 4
    assert re.search(message, text), text
    assert not site.server.seen


def cut(host: Host) -> None:
    host.run("ip", "link", "set", "eth0", "down")


def test_a_host_that_is_cut_off_ends_the_run(site: Site):
    with site.begin("--duration", "60s", "-c", 6) as run, site.working():
        wait_for(lambda: sum(site.server.seen.values()) > 100, within_s=60, what="load")
        cut(site.workers[0])
        text, _ = run.communicate(timeout=40)
    assert run.returncode == 4
    assert re.search(r"was lost \d+ s after the start; \d+ requests had been counted", text), text


def sent(server: Shop) -> Callable[[], bool]:
    """Return a condition that is true once the server gets no more requests."""
    last = [-1, time.monotonic()]

    def is_quiet() -> bool:
        now = sum(server.seen.values())
        if now != last[0]:
            last[:] = now, time.monotonic()
        return time.monotonic() - last[1] > 2

    return is_quiet


def test_workers_stop_when_their_master_is_cut_off(site: Site):
    with site.begin("--duration", "60s", "-c", 6) as run, site.working():
        wait_for(lambda: sum(site.server.seen.values()) > 100, within_s=60, what="load")
        cut(site.master)
        wait_for(sent(site.server), within_s=20, what="the end of the load")
        run.communicate(timeout=40)
    assert run.returncode == 4
