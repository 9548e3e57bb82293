"""What happened to the services stands in the history, with who asked for it and why, and never a secret."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import System
from tests.support.runner import data_of
from tests.support.waiting import wait_for
from toombos_cli.project.state import RunDirectory

SECRET = "hunter2-very-secret-9a8b7c"


def events(system: System, *args: str) -> list[dict[str, Any]]:
    """Return the events that `toombos events` lists."""
    found: list[dict[str, Any]] = data_of(system("events", *args, "--json", exit_code=0))["events"]
    return found


def said(found: list[dict[str, Any]]) -> list[tuple[str, str | None, str]]:
    return [(event["event"], event["reason"], event["by"]) for event in found]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system that was started, crashed, was restarted, did not want to end, and was stopped."""
    system = System(tmp_path_factory.mktemp("lived"))
    env = {"IGNORE_TERM": "1", "API_TOKEN": SECRET, "PASSWORD": "x" + SECRET}
    system.add("web", env=env, grace_period_s=0.3, probe_interval_s=0.2)
    system.add("other", env={"API_TOKEN": SECRET})
    try:
        system("start", exit_code=0)
        os.kill(system.pid("web"), signal.SIGKILL)
        wait_for(lambda: system.came_back("web"))
        system("restart", "web", exit_code=0)
        system("stop", exit_code=0)
        yield system
    finally:
        system.clean_up()


def test_each_event_has_its_reason_and_who_asked_for_it(lived: System) -> None:
    found = events(lived, "web")
    assert said(found) == [
        ("started", "command", "toombos start"),
        ("ready", None, ""),
        ("exited", "signal", ""),
        ("restarted", "signal", "supervisor"),
        ("ready", None, ""),
        ("killed", "command", "toombos restart"),
        ("stopped", "command", "toombos restart"),
        ("restarted", "command", "toombos restart"),
        ("ready", None, ""),
        ("killed", "command", "toombos stop"),
        ("stopped", "command", "toombos stop"),
    ]
    assert {event["uid"] for event in found if event["by"].startswith("toombos")} == {os.getuid()}
    assert {event["uid"] for event in found if not event["by"].startswith("toombos")} == {None}
    assert [event["signal"] for event in found if event["signal"]] == ["SIGKILL"] * 4
    assert "did not end within 0.3 s of SIGTERM" in found[5]["text"]
    assert [event["at"] for event in found] == sorted(event["at"] for event in found)


def test_the_supervisor_has_a_beginning_and_an_end(lived: System) -> None:
    own = [event for event in events(lived) if not event["service"]]
    assert said(own) == [
        ("supervisor-started", None, "supervisor"),
        ("supervisor-ended", "nothing-left", "supervisor"),
    ]


def test_the_file_is_private_and_holds_no_secret(lived: System) -> None:
    path = lived.project / "run" / "history.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600
    assert SECRET not in path.read_text()


CHOICES: dict[str, tuple[tuple[str, ...], int]] = {
    "of one service": (("other",), 3),
    "of two services": (("other", "web"), 14),
    "the last ones": (("-n", "2", "web"), 2),
    "none": (("-n", "0"), 0),
    "since a moment ago": (("--since", "1h", "web"), 11),
    "until an hour ago": (("--until", "1h"), 0),
}


@pytest.mark.parametrize(("args", "count"), CHOICES.values(), ids=CHOICES)
def test_events_can_be_chosen(lived: System, args: tuple[str, ...], count: int) -> None:
    assert len(events(lived, *args)) == count


MISTAKES = {
    "an unknown service": (("wbe",), "no service is named 'wbe'"),
    "a bad time": (("--since", "soon"), "--since 'soon' is not a time"),
    "an end for new events": (("-f", "--until", "1h"), "--until has no meaning with --follow"),
}


@pytest.mark.parametrize(("args", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_an_option_of_events_is_a_usage_error(lived: System, args: tuple[str, ...], message: str) -> None:
    assert message in lived("events", *args, exit_code=2).stderr


def test_events_are_a_table_with_heads(lived: System) -> None:
    head, *rows = lived("events", "web", exit_code=0).stdout.splitlines()
    assert head.split() == ["TIME", "SERVICE", "EVENT", "REASON", "BY", "USER", "PID"]
    assert len(rows) == 11
    assert [row for row in rows if "exited" in row and "SIGKILL" in row]


LOGS: dict[str, tuple[tuple[str, ...], bool]] = {
    "by default": ((), True),
    "without events": (("--no-events",), False),
    "if lines are chosen": (("--grep", "."), False),
    "of another service": (("other",), False),
    "since a moment ago": (("--since", "1h"), True),
}


@pytest.mark.parametrize(("args", "shown"), LOGS.values(), ids=LOGS)
def test_logs_show_events_among_the_lines(lived: System, args: tuple[str, ...], shown: bool) -> None:
    text = lived("logs", *args, exit_code=0).stdout
    assert ("-- " in text and "killed, pid " in text and "by toombos stop" in text) is shown
    found = [line for line in data_of(lived("logs", *args, "--json"))["lines"] if line["event"]]
    assert ("killed" in {line["event"]["event"] for line in found}) is shown
    assert all(line["line"].startswith("-- ") for line in found)


def test_a_name_that_the_client_sends_is_not_believed(system: System) -> None:
    system.add("other")
    system("start", "other", exit_code=0)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(RunDirectory(system.project).socket))
        claims = {"type": "Stop", "names": ["other"], "by": "toombos audit", "uid": 4242, "user": "eve"}
        client.sendall(json.dumps(claims).encode() + b"\n")
        while client.recv(65_536):
            pass
    stopped = events(system, "other")[-1]
    assert (stopped["event"], stopped["by"], stopped["uid"]) == ("stopped", "toombos stop", os.getuid())


ENDS: dict[str, tuple[dict[str, Any], list[tuple[str, str | None]]]] = {
    "a program that is missing": ({"command": ["/nonexistent"]}, [("failed", "cannot-start")]),
    "an exit at the start": (
        {"env": {"EXIT_CODE": "7"}},
        [("started", "command"), ("exited", "exit-code"), ("failed", "exit-code")],
    ),
    "a refused configuration": (
        {"env": {"EXIT_CODE": "7"}, "exit_codes_of_invalid_configuration": [7]},
        [("started", "command"), ("exited", "configuration"), ("failed", "configuration")],
    ),
    "not ready in time": (
        {"env": {"START_DELAY_S": "60"}, "startup_timeout_s": 0.3},
        [("started", "command"), ("stopped", "not-ready"), ("failed", "not-ready")],
    ),
}


@pytest.mark.parametrize(("table", "expected"), ENDS.values(), ids=ENDS)
def test_a_start_that_fails_is_recorded(
    system: System, table: dict[str, Any], expected: list[tuple[str, str | None]]
) -> None:
    system.add("web", **table)
    assert system("start").returncode != 0
    found = events(system, "web")
    assert [(event["event"], event["reason"]) for event in found] == expected
    assert [event["exit_code"] for event in found if event["event"] == "exited" and event["reason"] == "exit-code"] in (
        [],
        [7],
    )


def test_a_crash_loop_is_recorded_and_diagnose_and_incident_quote_it(system: System, tmp_path: Path) -> None:
    flag = tmp_path / "broken"
    flag.touch()
    flag.rename(tmp_path / "whole")
    restart = {"backoff_initial_s": 0.05, "backoff_max_s": 0.05, "crash_loop_count": 2}
    system.add("web", env={"EXIT_CODE": "7", "EXIT_FLAG": str(flag)}, restart=restart)
    system("start", exit_code=0)
    flag.touch()
    os.kill(system.pid("web"), signal.SIGKILL)
    wait_for(lambda: system.phase("web") == "crash-loop")
    found = [event for event in events(system, "web") if event["event"] in ("restarted", "crash-loop")]
    assert [event["event"] for event in found] == ["restarted", "restarted", "crash-loop"]
    assert found[-1]["why"] == "exit code 7"
    timeline = data_of(system("diagnose", "--incident", "--json"))["timeline"]
    assert [event for event in timeline if event["text"].startswith("web: crash loop")]


def test_the_last_reason_stands_below_the_table_of_status(system: System) -> None:
    system.add("web")
    system("start", exit_code=0)
    os.kill(system.pid("web"), signal.SIGKILL)
    wait_for(lambda: system.came_back("web"))
    lines = system("status", exit_code=0).stdout.splitlines()
    assert [line for line in lines if line.startswith("web: restarted once, last ") and line.endswith("by SIGKILL")]
    row = system.row("web")
    assert (row["last_end"]["reason"], row["last_end"]["signal"]) == ("signal", "SIGKILL")
    assert [restart["reason"] for restart in row["restart_history"]] == ["its process was ended by SIGKILL"]


def test_a_supervisor_that_is_ended_by_a_signal_says_by_which(system: System) -> None:
    system.add("web")
    system("start", exit_code=0)
    os.kill(int(system.state()["supervisor_pid"]), signal.SIGTERM)
    wait_for(lambda: events(system)[-1]["event"] == "supervisor-ended")
    stopped, ended = events(system)[-2:]
    assert (stopped["event"], stopped["reason"], stopped["by"]) == ("stopped", "supervisor-ends", "supervisor")
    assert (ended["reason"], ended["signal"]) == ("signal", "SIGTERM")


def test_an_adoption_is_recorded_and_no_end_is_invented(system: System) -> None:
    system.add("web")
    system("start", exit_code=0)
    os.kill(system.pid("web"), signal.SIGKILL)
    wait_for(lambda: system.came_back("web"))
    system.kill_supervisor()
    system("start", exit_code=0)
    found = [event["event"] for event in events(system, "web")]
    assert found == ["started", "ready", "exited", "restarted", "ready", "adopted", "ready"]


IN_ITS_PLACE = {
    "a directory": lambda path: path.mkdir(),
    "a FIFO": os.mkfifo,
    "a link to a file of the user": lambda path: path.symlink_to(path.parent.parent / "toombos.toml"),
}


@pytest.mark.parametrize("prepare", IN_ITS_PLACE.values(), ids=IN_ITS_PLACE)
def test_without_a_history_everything_works_and_status_says_so_once(system: System, prepare: Any) -> None:
    system.add("web")
    (system.project / "run").mkdir(mode=0o700)
    prepare(system.project / "run" / "history.jsonl")
    manifest = (system.project / "toombos.toml").read_bytes()
    began = time.monotonic()
    system("start", exit_code=0)
    shown = system("status", exit_code=0)
    assert shown.stderr.count("history.jsonl could not be written and is incomplete") == 1
    assert "history.jsonl" in system("events", exit_code=0).stderr
    assert "history.jsonl" not in system("logs", exit_code=0).stdout
    system("diagnose")
    system("stop", exit_code=0)
    assert time.monotonic() - began < 60
    assert (system.project / "toombos.toml").read_bytes() == manifest
