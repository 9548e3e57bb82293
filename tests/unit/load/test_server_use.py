"""CPU time of the loaded server, measured to the microsecond even if the run is shorter than a clock tick."""

import multiprocessing
import sys
import time

import pytest

from tests.support.loading import plan_for, target_at
from tests.support.ports import free_port
from toombos_cli.load.build_report import server_uses
from toombos_cli.load.engine.recorder import EngineResult
from toombos_cli.load.engine.timeline import Timeline
from toombos_cli.load.server_use import Observed, ProcessSample, ServerWatch, Watched, watched_servers
from toombos_cli.manifest.reading.loader import load_manifest


def burn(port: int, pipe) -> None:
    """Listen on the port, and use as many seconds of CPU as each message asks for."""
    import socket

    with socket.create_server(("127.0.0.1", port)):
        pipe.send("ready")
        while True:
            end = time.process_time() + pipe.recv()
            while time.process_time() < end:
                pass
            pipe.send("done")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts CPU time more finely than in clock ticks")
def test_cpu_time_below_a_clock_tick_is_measured():
    port = free_port()
    mine, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=burn, args=(port, theirs), daemon=True)
    server.start()
    try:
        assert mine.recv() == "ready"
        with ServerWatch((Watched(name="web", host="127.0.0.1", port=port),)) as watch:
            mine.send(0.004)
            assert mine.recv() == "done"
        (observed,) = watch.observed
    finally:
        server.kill()
    used_s = observed.samples[-1].cpu_s - observed.samples[0].cpu_s
    assert 0.004 <= used_s < 0.009


def hold(port: int, to: int | None, pipe) -> None:
    """Listen on the port, with a connection to another one, until the pipe closes."""
    import socket

    with socket.create_server(("127.0.0.1", port)):
        connection = socket.create_connection(("127.0.0.1", to)) if to else None
        pipe.send("ready")
        pipe.recv()
        del connection


def test_a_service_behind_the_target_is_watched_and_another_one_is_not():
    ports = {name: free_port() for name in ("database", "app", "proxy", "other")}
    context = multiprocessing.get_context("spawn")
    running = []
    for name, to in (("database", None), ("app", "database"), ("proxy", "app"), ("other", None)):
        mine, theirs = multiprocessing.Pipe()
        target = ports[to] if to else None
        process = context.Process(target=hold, args=(ports[name], target, theirs), daemon=True)
        process.start()
        running.append((process, mine))
        assert mine.recv() == "ready"
    try:
        watched = [
            Watched(name=name, host="127.0.0.1", port=ports[name], only_behind=name != "proxy")
            for name in ("proxy", "other", "database", "app")
        ]
        with ServerWatch(tuple(watched)) as watch:
            pass
    finally:
        for process, _ in running:
            process.kill()
    assert [server.name for server in watch.observed] == ["proxy", "database", "app"]


def test_what_the_target_depends_on_is_watched(tmp_path):
    services = [("db", 1, []), ("app", 2, ["db"]), ("front", 3, ["app"]), ("other", 4, [])]
    tables = (
        f'[services.{name}]\ncommand = ["x"]\nport = {port}\nhealth = "/"\ndepends_on = {needs}\n'
        for name, port, needs in services
    )
    (tmp_path / "toombos.toml").write_text("".join(tables))
    manifest = load_manifest(tmp_path)
    found = watched_servers(target_at(3), manifest, ("other",))
    assert [one.name for one in found] == ["front", "app", "db", "other"]
    assert not any(one.only_behind for one in found)
    assert [one.only_behind for one in watched_servers(target_at(3), manifest, ())] == [False, False, False, True]


def sample(at_s: float, cpu_s: float) -> ProcessSample:
    return ProcessSample(at_ns=round(at_s * 1e9), cpu_s=cpu_s, rss_bytes=1, open_files=1, processes=1)


# Half a core from 10 s to 12 s; the last response comes at 20 s.
LOADED = [sample(9.5, 1.0), sample(10.5, 1.25), sample(11.5, 1.75), sample(12.5, 2.0), sample(20.0, 2.0)]


def a_run(started_s: float, ended_s: float = 20) -> EngineResult:
    return EngineResult(
        endpoints=[],
        connect={},
        lag={},
        timeline=Timeline(),
        scheduled=1,
        dropped=0,
        sent_in_time=1,
        started_ns=round(started_s * 1e9),
        sending_ended_ns=round(12e9),
        ended_ns=round(ended_s * 1e9),
        cpu_s=1.0,
        cpu_sending_s=0.5,
        connections=1,
    )


@pytest.mark.parametrize(
    ("warmup_s", "started_s", "cpu_s"),
    [(0, 10, 1.0), (0.5, 10.4, 0.8), (0, 11, 0.5)],
    ids=["without a warm-up", "after a warm-up", "after a wait for workers"],
)
def test_the_mean_cpu_is_that_of_the_time_of_sending(warmup_s, started_s, cpu_s):
    outcome = a_run(started_s)
    plan = plan_for(1, warmup_s=warmup_s)
    (use,) = server_uses(plan, [Observed("web", 1, 80, samples=list(LOADED))], outcome)
    assert use.cpu_percent == pytest.approx(50, abs=3)
    assert use.cpu_s == pytest.approx(cpu_s, abs=0.03)
    assert outcome.cpu_percent == pytest.approx(0.5 / (12 - started_s) * 100)


def test_the_series_of_a_server_ends_with_the_run():
    (use,) = server_uses(plan_for(1), [Observed("web", 1, 80, samples=list(LOADED))], a_run(10, 12))
    assert [one.t for one in use.series] == [0.5, 1.5, 2.5]
