"""The output of start, status and stop: JSON keys for programs and tables for people."""

import json
from typing import Any

ROW_KEYS = {
    "name",
    "phase",
    "pid",
    "port",
    "ready_after_s",
    "restarts",
    "cpu_percent",
    "rss_bytes",
    "uptime_s",
    "log",
    "restart_history",
    "last_log_line",
}


def test_json_output_always_has_the_documented_keys(pair: Any) -> None:
    for command, phase in (("start", "ready"), ("status", "ready"), ("restart", "ready"), ("stop", "stopped")):
        document = json.loads(pair(command, "--json", exit_code=0).stdout)
        data = document["data"]
        assert document["command"] == command
        assert {"services", "dry_run", "supervisor"} <= data.keys()
        assert data["supervisor"].keys() == {"pid", "alive"}
        for row in data["services"]:
            assert row.keys() >= ROW_KEYS
            assert row["phase"] == phase
            assert (row["pid"] is None) == (phase == "stopped")
    assert data["supervisor"] == {"pid": None, "alive": False}


def test_json_output_contains_the_failure(pair: Any) -> None:
    pair.add("app", env={"EXIT_CODE": "5"})
    document = json.loads(pair("start", "--json", exit_code=4).stdout)
    assert document["verdict"] == "error"
    assert document["exit_code"] == 4
    (error,) = document["errors"]
    assert error["where"] == "app"
    assert error["message"] == "its process ended with exit code 5"
    assert document["data"]["failures"][0]["last_lines"] == ["hello from web", "cannot go on"]


def test_output_without_a_terminal_has_no_escape_codes_and_is_not_cut(system: Any) -> None:
    long = "a-service-with-quite-a-long-name-that-fills-a-column"
    system.add(long, env={"GREETING": "x" * 300})
    started = system("start", exit_code=0)
    shown = system("status", exit_code=0)
    for text in (started.stdout, started.stderr, shown.stdout, shown.stderr):
        assert "\x1b" not in text
    assert f"logs/{long}.log" in shown.stdout
    assert "x" * 300 in shown.stdout
    assert "…" not in shown.stdout


def test_stop_succeeds_and_status_exits_1_if_nothing_is_running(pair: Any) -> None:
    assert "nothing is running" in pair("stop", exit_code=0).stdout
    assert "not running" in pair("status", exit_code=1).stdout
    assert not (pair.project / "run").exists(), "neither command may start a supervisor"


def test_status_says_why_a_service_is_not_ready(system: Any) -> None:
    system.add("crm", env={"EXIT_CODE": "5", "LAST_WORDS": "the reason"})
    system("start", exit_code=4)
    shown = system("status", exit_code=1).stdout
    assert "crm: its process ended with exit code 5" in shown
    assert "  | the reason" in shown
