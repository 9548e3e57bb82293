"""`toombos load` as its users see it: a process, its output and its exit code."""

import contextlib
import csv
import json
import os
import socket
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.support.loading import load_server, plan_for
from tests.support.ports import free_port
from tests.support.runner import Toombos, begin_toombos
from tests.support.waiting import wait_for
from toombos_cli.load.run import run_load
from toombos_cli.load.slo import LoadCriteria
from toombos_cli.main import main

SCENARIO = '[[request]]\nname = "a"\npath = "/"\n'

REFUSED_INPUT = [
    ("no such payload", ["-p", "missing.json"], 3, "missing.json: cannot be read: No such file"),
    ("a directory as payload", ["-p", "."], 3, "cannot be read: Is a directory"),
    ("no connections", ["-c", "0"], 2, "-c: must be above 0, not 0"),
    ("negative requests", ["-n", "-5"], 2, "-n: must be above 0, not -5"),
    ("no processes", ["--processes", "0"], 2, "--processes: must be above 0"),
    ("a rate of nothing", ["--rate", "0"], 2, "--rate: must be above 0"),
    ("a rate that is no number", ["--rate", "nan"], 2, "--rate: must be above 0"),
    ("a rate without end", ["--rate", "inf"], 2, "--rate: must be at most 1000000"),
    ("a rate that nothing sends", ["--stages", "1s:2000000"], 2, "--stages: must be at most 1000000 per second"),
    ("a time without end", ["--duration", "9" * 400 + "h"], 2, "is not a duration above 0"),
    ("arrivals of a closed loop", ["--arrival", "poisson"], 2, "--arrival: applies only to an open loop"),
    ("more processes than requests", ["-n", "1", "--processes", "2"], 2, "2 processes cannot share 1 connection"),
    ("rate and number", ["--rate", "5", "-n", "10"], 2, "-n and --rate contradict each other"),
    ("rate and connections", ["--rate", "5", "-c", "10"], 2, "-c and --rate contradict each other"),
    ("stages and rate", ["--rate", "5", "--stages", "1s:5"], 2, "--stages already sets rate and duration"),
    ("stages unreadable", ["--stages", "30s"], 2, "'30s' is not a stage"),
    ("duration unreadable", ["--duration", "soon"], 2, "'soon' is not a duration"),
    ("more connections than requests", ["-n", "5", "-c", "10"], 2, "more connections (10) than requests (5)"),
    ("more processes than connections", ["-c", "2", "--processes", "3"], 2, "3 processes cannot share 2 connections"),
    ("objective unreadable", ["--slo", "p99<800ms,fast"], 2, "at position 11"),
    ("abort without objective", ["--abort-on-fail"], 2, "--abort-on-fail: needs --slo"),
    ("two bodies", ["-p", "toombos.toml", "-d", "x"], 2, "-p and -d both set the body"),
    ("a header without a colon", ["-H", "Authorization"], 2, "not a header"),
    ("a header of two lines", ["-H", "X: a\r\nY: b"], 2, "-H: the value of X contains a line break"),
    ("a header that frames", ["-H", "Content-Length: 5"], 2, "is set from the body"),
    ("a method with a blank", ["-m", "GET /"], 2, "not an HTTP method"),
    ("no such baseline", ["--baseline", "missing.json"], 3, "missing.json: cannot be read"),
    ("a baseline that is none", ["--baseline", "toombos.toml"], 3, "not a baseline"),
    ("no such scenario", ["--scenario", "missing.toml"], 3, "missing.toml: cannot be read"),
    ("a scenario with an unknown key", ["--scenario", "typo.toml"], 3, "unknown key 'wieght'"),
    ("a scenario without requests", ["--scenario", "empty.toml"], 3, "request"),
    ("a scenario that is no TOML", ["--scenario", "broken.toml"], 3, "not valid TOML"),
    ("html into a missing directory", ["--html", "none/there.html"], 2, "its directory does not exist"),
    ("junit into a directory", ["--junit", "."], 2, "is a directory"),
    ("an unknown service to watch", ["--watch", "generatr"], 2, "did you mean 'generator'?"),
]


@pytest.fixture
def files(project: Path) -> Path:
    (project / "typo.toml").write_text(SCENARIO + "wieght = 3\n")
    (project / "empty.toml").write_text("")
    (project / "broken.toml").write_text("[[request]\n")
    return project


@pytest.mark.parametrize(
    ("args", "code", "message"), [row[1:] for row in REFUSED_INPUT], ids=[row[0] for row in REFUSED_INPUT]
)
def test_bad_input_is_reported_before_any_request_is_sent(args, code, message, files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        found = main(["load", f"http://127.0.0.1:{listener.getsockname()[1]}/", *args])
        received = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = listener.accept()  # checking whether the target is reachable is allowed
                with connection:
                    received += connection.recv(100)
    printed = capsys.readouterr()
    assert found == code, printed.err
    assert message in printed.err
    assert printed.out == ""
    assert received == b""


@pytest.mark.parametrize(
    ("url", "code", "message"),
    [
        ("http://93.184.216.34/", 5, "is not this machine: nothing was sent"),
        ("http://10.1.2.3:8000/", 5, "is not this machine"),
        ("http://does-not-exist.invalid/", 4, "does not resolve"),
        ("ftp://127.0.0.1/", 2, "http:// or https:// URL"),
        ("word", 2, "http:// or https:// URL"),
    ],
)
def test_a_forbidden_or_unusable_target_is_reported(url, code, message, toombos: Toombos):
    done = toombos("--json", "load", url)
    document = json.loads(done.stdout)
    assert (done.returncode, document["exit_code"]) == (code, code)
    assert message in document["errors"][0]["message"]
    assert document["errors"][0]["where"] == url


@pytest.mark.parametrize("typed", [":{port}/health", "localhost:{port}/", "127.0.0.1:{port}"])
def test_a_target_may_lack_the_scheme_and_this_machine_its_name(typed, toombos: Toombos):
    with load_server("fixed:0") as server:
        data = run_json(toombos, typed.format(port=server.port), "-n", "5")["data"]
    assert server.requests == data["counts"]["ok"] == 5
    assert data["plan"]["url"].startswith("http://")


@pytest.mark.parametrize("option", ["--csv", "--html", "--junit"])
def test_an_output_file_that_cannot_be_written_loses_no_results(option, toombos: Toombos):
    """/dev/full refuses every byte, like a disk that fills up during the run."""
    with load_server("fixed:0") as server:
        url = f"http://127.0.0.1:{server.port}/"
        done = toombos("load", url, "-n", "20", option, "/dev/full")
        document = json.loads(toombos("--json", "load", url, "-n", "20", option, "/dev/full").stdout)
    assert done.returncode == document["exit_code"] == 4
    assert "20 of 20 requests succeeded" in done.stdout
    assert "error: /dev/full: cannot be written: No space left on device" in done.stderr
    assert document["data"]["counts"]["ok"] == 20
    assert "cannot be written" in document["errors"][0]["message"]


def test_a_baseline_that_cannot_be_saved_loses_no_results(tmp_path: Path):
    directory = tmp_path / "removed"
    directory.mkdir()

    def put_a_file_in_its_place(_: object) -> None:
        if directory.is_dir():
            directory.rmdir()
            directory.touch()

    with load_server("fixed:0") as server:
        report = run_load(
            plan_for(server.port, duration_s=0.8),
            criteria=LoadCriteria(save_baseline=directory / "load.json"),
            on_snapshot=put_a_file_in_its_place,
        )
    assert report.counts.ok > 0
    assert report.exit_code() == 4
    assert "cannot be written: Not a directory" in report.problems[0].message


def test_an_unreachable_target_is_reported_with_a_hint(toombos: Toombos, project: Path):
    done = toombos("load", f"http://127.0.0.1:{free_port()}/")
    assert done.returncode == 4
    assert "connection refused" in done.stderr
    assert f"hint: toombos --project {project} start --dry-run" in done.stderr


def test_too_low_a_limit_of_open_files_is_raised_or_reported(project: Path):
    with load_server("fixed:0") as server:
        url = f"http://127.0.0.1:{server.port}/"
        command = f"ulimit -n {{}}; exec {sys.executable} -P -m toombos_cli load {url} -n 200 -c 200"
        named = subprocess.run(["bash", "-c", command.format(128)], capture_output=True, text=True, cwd=project)
        raised = subprocess.run(["bash", "-c", command.format("-S 128")], capture_output=True, text=True, cwd=project)
    assert named.returncode == 4
    assert "200 connections need 264 open files, but the limit is 128" in named.stderr
    assert "hint: use -c 64" in named.stderr
    assert raised.returncode == 0, raised.stderr


def run_json(toombos: Toombos, *args: str, code: int = 0) -> dict[str, Any]:
    """Return the envelope of a run that ends with this code, or with 4 if a busy machine delayed the generator."""
    done = toombos("--json", "load", *args)
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["exit_code"] == done.returncode
    held_up = document["data"] and not document["data"]["generator"]["valid"]
    assert done.returncode == code or (held_up and done.returncode == 4), done.stdout + done.stderr
    return document


KEYS = {"run", "plan", "counts", "latency_us", "throughput_rps", "status", "samples", "errors", "series", "server",
        "generator", "slo", "baseline", "endpoints", "schema"}  # fmt: skip


def test_the_result_has_the_documented_keys(toombos: Toombos):
    with load_server("error:10") as server:
        data = run_json(toombos, f"http://127.0.0.1:{server.port}/", "-n", "50", "-d", "{}")["data"]
    assert data.keys() >= KEYS
    assert data["schema"] == "toombos.load/1"
    counted = {"scheduled", "ok", "http_error", "transport_error", "censored", "dropped"}
    assert data["counts"].keys() == counted | {"network_fault", "machine_fault", "retried"}
    assert {"throughput_rps", "ok_rps", "sent_rps"} <= data.keys()
    assert {"duration_s", "sending_s", "drain_s"} <= data["run"].keys()
    for name in ("response", "service", "connect", "ttfb"):
        assert data["latency_us"][name].keys() >= {
            "p50", "p75", "p90", "p95", "p99", "p99_9", "p99_99", "max", "mean", "hdr_v2"
        }  # fmt: skip
    assert data["series"][0].keys() >= {"t", "sent", "ok", "err", "p50", "p99", "inflight", "lag_p99"}
    assert data["generator"].keys() >= {"cpu_percent", "lag_p99_us", "achieved_ratio", "valid", "reasons"}
    assert data["status"] == {"200": 45, "500": 5}


def test_the_default_is_a_hundred_requests_ten_at_a_time(toombos: Toombos):
    with load_server("fixed:5") as server:
        data = run_json(toombos, f"http://127.0.0.1:{server.port}/")["data"]
    assert data["counts"]["ok"] == server.requests == 100
    assert data["plan"]["connections"] == data["generator"]["connections"] == 10


def test_the_report_shows_the_cpu_and_memory_of_the_loaded_server(toombos: Toombos):
    with load_server("fixed:1") as server:
        data = run_json(toombos, f"http://127.0.0.1:{server.port}/", "--duration", "2.5s")["data"]
        (row,) = data["server"]
        assert row["pid"] == server.process.pid
    assert row["rss_max_bytes"] > 5_000_000
    assert 0 < row["cpu_ms_per_request"] < 5
    assert len(row["series"]) >= 3
    assert all(sample["open_files"] >= 10 for sample in row["series"][:-1])


def test_text_starts_with_the_verdict_and_has_no_escape_codes(toombos: Toombos):
    with load_server("error:4") as server:
        done = toombos("load", f"http://127.0.0.1:{server.port}/", "-n", "40", "--slo", "p99<5s,error_rate<10%")
    assert done.stdout.startswith(("FAIL  30 of 40 requests succeeded", "ERROR  30 of 40 requests succeeded"))
    assert "slo        FAIL  error_rate<10%: 25.000%" in done.stdout
    assert "status     200: 30  500: 10" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_a_run_without_a_successful_request_fails(toombos: Toombos):
    with load_server("error:1") as server:
        done = toombos("load", f"http://127.0.0.1:{server.port}/", "-n", "20", "--slo", "p99<5s")
    assert done.stdout.startswith("FAIL  0 of 20 requests succeeded")
    assert '           500 says {"status":"preview"}' in done.stdout
    assert done.returncode == 1


def test_each_verdict_has_its_exit_code(toombos: Toombos):
    with load_server("fixed:20") as server:
        url = f"http://127.0.0.1:{server.port}/"
        assert run_json(toombos, url, "--slo", "p50<10s")["data"]["slo"][0]["verdict"] == "pass"
        assert run_json(toombos, url, "--slo", "p50<1ms", code=1)["data"]["slo"][0]["verdict"] == "fail"
        inconclusive = run_json(toombos, url, "--rate", "100", "--duration", "1s", "--max-connections", "1", code=4)
    assert inconclusive["data"]["generator"]["valid"] is False


def test_a_missed_objective_ends_the_run_early_if_requested(toombos: Toombos):
    with load_server("fixed:20") as server:
        url = f"http://127.0.0.1:{server.port}/"
        data = run_json(toombos, url, "--duration", "60s", "--slo", "p50<1ms", "--abort-on-fail", code=1)["data"]
    assert data["run"]["duration_s"] < 10
    assert any("stopped early" in note for note in data["notes"])


def test_a_baseline_detects_a_server_that_became_slower(toombos: Toombos, project: Path):
    baseline = str(project / "baseline.json")
    port = free_port()
    for behaviour, option, code in (
        ("fixed:80", "--save-baseline", 0),
        ("fixed:80", "--baseline", 0),
        ("fixed:300", "--baseline", 1),
    ):
        with load_server(behaviour, port=port):
            document = run_json(
                toombos, f"http://127.0.0.1:{port}/", "-n", "20", "-c", "2", option, baseline, code=code
            )
    worse = {c["metric"] for c in document["data"]["baseline"]["comparisons"] if c["verdict"] == "fail"}
    assert {"p50_us", "throughput_rps"} <= worse


def test_a_baseline_of_another_plan_is_refused(toombos: Toombos, project: Path):
    baseline = str(project / "baseline.json")
    with load_server("fixed:0") as server:
        url = f"http://127.0.0.1:{server.port}/"
        run_json(toombos, url, "--save-baseline", baseline)
        document = run_json(toombos, url, "-c", "3", "--baseline", baseline, code=2)
    assert "another plan (connections: 10 there, 3 here)" in document["errors"][0]["message"]


def test_requests_in_flight_are_not_errors_while_objectives_are_checked(toombos: Toombos):
    with load_server("fixed:100") as server:
        pace = ("--rate", "100", "--duration", "3s", "--slo", "error_rate<1%", "--abort-on-fail")
        data = run_json(toombos, f"http://127.0.0.1:{server.port}/", *pace)["data"]
    assert data["counts"]["ok"] == 300


def test_requests_cut_off_by_an_early_end_are_not_errors(toombos: Toombos):
    with load_server("fixed:100") as server:
        pace = ("--rate", "200", "--duration", "60s", "--slo", "p50<1ms,error_rate<1%", "--abort-on-fail")
        data = run_json(toombos, f"http://127.0.0.1:{server.port}/", *pace, code=1)["data"]
    assert data["counts"]["censored"] > 0.01 * data["counts"]["scheduled"], "no request was cut off"
    assert [found["verdict"] for found in data["slo"]] == ["fail", "pass"]


def test_a_scenario_mixes_requests_by_weight(toombos: Toombos, project: Path):
    (project / "body.json").write_text('{"a": 1}')
    (project / "mix.toml").write_text(
        '[[request]]\nname = "read"\npath = "/a"\nweight = 3\n'
        '[[request]]\nname = "write"\npath = "/b"\nmethod = "PUT"\nbody_file = "body.json"\n'
    )
    with load_server("fixed:0") as server:
        url = f"http://127.0.0.1:{server.port}/"
        data = run_json(toombos, url, "-n", "2000", "--scenario", str(project / "mix.toml"))["data"]
    counts = {name: found["counts"]["ok"] for name, found in data["endpoints"].items()}
    assert sum(counts.values()) == 2000
    assert counts["read"] == pytest.approx(1500, abs=100)


@pytest.mark.parametrize("url", ["/orders", "http://127.0.0.1:1/orders"])
def test_a_url_with_a_path_is_refused_together_with_a_scenario(url, toombos: Toombos, project: Path):
    (project / "mix.toml").write_text(SCENARIO)
    done = toombos("load", url, "--scenario", str(project / "mix.toml"))
    assert done.returncode == 2
    assert f"{url}: a scenario sets the paths itself" in done.stderr


def test_every_connection_sends_a_request_if_only_connections_are_given(toombos: Toombos):
    with load_server("fixed:0") as server:
        data = run_json(toombos, f"http://127.0.0.1:{server.port}/", "-c", "150")["data"]
    assert data["counts"]["ok"] == data["plan"]["requests"] == server.requests == 150


def test_several_processes_share_the_load_and_make_one_report(toombos: Toombos):
    with load_server("fixed:2") as server:
        url = f"http://127.0.0.1:{server.port}/"
        closed = run_json(toombos, url, "-n", "1001", "-c", "5", "--processes", "2")["data"]
        opened = run_json(toombos, url, "--rate", "100", "--duration", "2s", "--processes", "3")["data"]
    assert closed["counts"]["ok"] == 1001
    assert opened["counts"]["ok"] == 200
    assert server.requests == 1201
    assert sum(point["sent"] for point in opened["series"]) == 200


def test_secrets_from_the_command_line_never_reach_the_report(toombos: Toombos, project: Path):
    with load_server("fixed:0") as server:
        html = project / "r.html"
        done = toombos("--json", "load", f"http://127.0.0.1:{server.port}/", "-n", "5", "-c", "1", "-HX-Key: hunter2",
                       "-H", "X-Other: hunter2", "--data=hunter2", "--html", str(html))  # fmt: skip
    assert done.returncode == 0
    assert "hunter2" not in done.stdout + done.stderr + html.read_text()


def test_the_time_series_and_junit_are_written_as_well_as_the_result(toombos: Toombos, project: Path):
    with load_server("fixed:1") as server:
        url = f"http://127.0.0.1:{server.port}/"
        data = run_json(toombos, url, "-n", "100", "--slo", "p99<1us", "--csv", str(project / "s.csv"),
                        "--junit", str(project / "j.xml"), code=1)["data"]  # fmt: skip
    rows = list(csv.DictReader((project / "s.csv").read_text().splitlines()))
    assert [int(row["sent"]) for row in rows] == [point["sent"] for point in data["series"]]
    suite = ET.parse(project / "j.xml").getroot()[0]  # noqa: S314  (written by ourselves)
    assert [case.get("name") for case in suite if case.find("failure") is not None] == ["p99<1us"]


def test_sigterm_ends_a_run_that_is_blocked_on_its_output(project):
    os.mkfifo(project / "pipe")
    with load_server("fixed:0") as server:
        argv = ("load", f"http://127.0.0.1:{server.port}/", "-n", 1, "-c", 1, "--csv", "pipe", "--save-baseline", "b")
        waiting = begin_toombos(*argv, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for((project / "b").exists, what="the end of the run")
            waiting.terminate()
            assert waiting.wait(10) == 143
        finally:
            waiting.kill()
            waiting.wait()
