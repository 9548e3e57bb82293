"""What start, status and stop print: the keys that programs rely on, and tables that people read."""

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


def test_every_answer_has_the_keys_of_the_contract(pair: Any) -> None:
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


def test_a_failure_is_in_the_envelope_too(pair: Any) -> None:
    pair.add("app", env={"EXIT_CODE": "5"})
    document = json.loads(pair("start", "--json", exit_code=4).stdout)
    assert document["verdict"] == "error"
    assert document["exit_code"] == 4
    (error,) = document["errors"]
    assert error["where"] == "app"
    assert error["message"] == "its process ended with exit code 5"
    assert document["data"]["failures"][0]["last_lines"] == ["hello from web", "cannot go on"]


def test_without_a_terminal_there_are_no_escape_codes_and_nothing_is_cut(system: Any) -> None:
    long = "a-service-with-quite-a-long-name-that-fills-a-column"
    system.add(long, env={"GREETING": "x" * 300})
    started = system("start", exit_code=0)
    shown = system("status", exit_code=0)
    for text in (started.stdout, started.stderr, shown.stdout, shown.stderr):
        assert "\x1b" not in text
    assert f"logs/{long}.log" in shown.stdout
    assert "x" * 300 in shown.stdout
    assert "…" not in shown.stdout


def test_nothing_running_is_no_error_for_stop_and_a_no_from_status(pair: Any) -> None:
    assert "nothing is running" in pair("stop", exit_code=0).stdout
    assert "not running" in pair("status", exit_code=1).stdout
    assert not (pair.project / "run").exists(), "neither begins a supervisor"


def test_status_names_why_a_service_is_not_ready(system: Any) -> None:
    system.add("crm", env={"EXIT_CODE": "5", "LAST_WORDS": "the reason"})
    system("start", exit_code=4)
    shown = system("status", exit_code=1).stdout
    assert "crm: its process ended with exit code 5" in shown
    assert "  | the reason" in shown
