"""Tasks: they run to their end, before what waits for them."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.conftest import System
from tests.support.runner import data_of
from tests.support.waiting import wait_for
from toombos_cli import processes
from toombos_cli.recovery.restore_services import SupervisedServices

RELEASED = "while ! test -e released; do sleep 0.02; done"
"""Waits until the test creates the file."""


def add_task(system: System, name: str, script: str, **table: Any) -> None:
    """Add a task that runs a shell script in the project, and notes in `events` that it was begun."""
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items() if not isinstance(value, dict))
    text += "".join(
        f"{key} = {{ " + ", ".join(f"{n} = {json.dumps(v)}" for n, v in value.items()) + " }\n"
        for key, value in table.items()
        if isinstance(value, dict)
    )
    command = json.dumps(["sh", "-c", f"echo {name} >> events; {script}"])
    system.top += f'[services.{name}]\nkind = "task"\ncommand = {command}\n{text}'
    system.write()


def events(system: System) -> list[str]:
    try:
        return (system.project / "events").read_text().split()
    except FileNotFoundError:
        return []


def runs_in_history(system: System, task: str) -> list[str]:
    """Return what the history has of `toombos run`: each event and why."""
    rows = data_of(system("events", task, "--json", exit_code=0))["events"]
    return [f"{row['event']} {row['why']}" for row in rows if row["by"] == "toombos run"]


def phases(system: System) -> dict[str, str]:
    return {row["name"]: row["phase"] for row in system.status()["services"]}


@pytest.fixture
def shop(system: System) -> System:
    """A database, a migration that needs it, and a web server that needs the migration."""
    add_task(system, "migrate", "test -e broken && echo 'no such table: orders' && exit 3; exit 0", depends_on=["db"])
    system.add("db")
    system.add("web", depends_on={"migrate": "completed", "db": "ready"})
    return system


def test_every_command_knows_that_a_task_is_done(shop: System) -> None:
    assert shop("start", exit_code=0).stdout.startswith("started: db, migrate, web\n")
    assert phases(shop) == {"migrate": "done", "db": "ready", "web": "ready"}
    assert shop("status", exit_code=0).stdout.startswith("live mode\n")
    health = data_of(shop("health", "--json", exit_code=0))
    assert {s["name"]: (s["status"], s["reason"]) for s in health["services"]}["migrate"] == ("done", "ok")
    assert "migrate" not in shop("smoke", exit_code=0).stdout
    assert data_of(shop("diagnose", "--json", exit_code=0))["roots"] == []
    assert shop("start", exit_code=0).stdout.startswith("already running\n")
    assert events(shop) == ["migrate"]
    shop("restart", "web", exit_code=0)
    assert events(shop) == ["migrate", "migrate"], "a service that waits for a task was started"
    assert shop("stop", exit_code=0).stdout.startswith("stopped: db (pid")
    assert set(phases(shop).values()) == {"stopped"}
    shop("start", exit_code=0)
    assert len(events(shop)) == 3


def test_a_failed_task_is_the_one_cause_until_it_succeeds(shop: System) -> None:
    (shop.project / "broken").touch()
    done = shop("start", exit_code=4)
    assert done.stdout.startswith("not started: migrate\n")
    assert "error: migrate: its process ended with exit code 3\nhint: toombos logs migrate\n" in done.stderr
    assert "  | no such table: orders\n" in done.stderr
    assert "note: not started either, because they depend on it: web\n" in done.stderr
    assert "note: left running: db; to stop them: toombos stop db\n" in done.stderr
    found = data_of(shop("diagnose", "--json", exit_code=1))
    (root,) = (f for f in found["findings"] if f["verdict"] == "fail" and not f["explained_by"])
    assert (root["id"], root["service"]) == ("task.failed", "migrate")
    assert "so web was not started either" in root["reason"]
    assert "no such table: orders" in [evidence["text"] for evidence in root["evidence"]]
    health = {s["name"]: s for s in data_of(shop("health", "--json", exit_code=1))["services"]}
    assert (health["migrate"]["status"], health["migrate"]["reason"]) == ("down", "task")
    assert health["web"]["explained_by"] == "migrate"
    (shop.project / "broken").unlink()
    assert shop("start", exit_code=0).stdout.startswith("started: migrate, web\n")


FAILS: dict[str, tuple[str, dict[str, Any], str]] = {
    "it is killed": ("kill -9 $$", {}, "its process was ended by SIGKILL"),
    "it exceeds its time limit": ("sleep 60", {"timeout_s": 0.3}, "not completed within 0.3 s"),
    "it goes on in the background": ("sleep 60 & exit 0", {}, "its process ended and left pid "),
    "its program is not there": ("", {"cwd": "nowhere"}, "its working directory"),
}


@pytest.mark.parametrize(("script", "table", "said"), FAILS.values(), ids=list(FAILS))
def test_a_start_fails_with_its_task_if(system: System, script: str, table: dict[str, Any], said: str) -> None:
    add_task(system, "migrate", script, **table)
    system.add("web", depends_on=["migrate"])
    done = system("start", exit_code=4)
    assert f"error: migrate: {said}" in done.stderr
    assert phases(system) == {"migrate": "failed", "web": "stopped"}
    assert system.tagged() == {}


def test_tasks_that_do_not_need_each_other_run_side_by_side(system: System) -> None:
    add_task(system, "one", "touch 1; while ! test -e 2; do sleep 0.02; done")
    add_task(system, "two", "touch 2; while ! test -e 1; do sleep 0.02; done")
    add_task(system, "last", "test -e 1 -a -e 2", depends_on=["one", "two"])
    assert system("start", exit_code=0).stdout.startswith("started: ")
    assert system("status", exit_code=0).stdout.startswith("done\n")
    system("start", exit_code=0)
    assert sorted(events(system)) == ["last", "last", "one", "one", "two", "two"], "each start of the system runs them"


def test_a_system_of_tasks_in_the_foreground_ends_with_the_last_one(system: System) -> None:
    add_task(system, "one", "echo one was here")
    done = system("start", "--foreground", exit_code=0)
    assert "one was here" in done.stdout


def begun(system: System, *args: str) -> "subprocess.Popen[str]":
    """Return a command that waits for the task `slow`, which runs."""
    process = system.begin(*args)
    wait_for(lambda: "slow" in events(system) and system.pid("slow") > 0)
    return process


def test_a_stop_ends_a_running_task_and_the_start_that_waits_for_it_fails(system: System) -> None:
    add_task(system, "slow", RELEASED)
    system.add("web", depends_on=["slow"])
    with begun(system, "start") as start:
        system("stop", "slow", exit_code=0)
        out, err = start.communicate(timeout=30)
    assert start.returncode == 4, (out, err)
    assert "error: slow: another command stopped it meanwhile" in err
    assert phases(system) == {"slow": "stopped", "web": "stopped"}
    assert system.tagged() == {}


def test_a_start_whose_supervisor_is_killed_does_not_take_a_task_for_done(system: System) -> None:
    add_task(system, "slow", RELEASED)
    system.add("web", depends_on=["slow"])
    with begun(system, "start") as start:
        system.kill_supervisor()
        wait_for(lambda: bool(system.state()["services"]["slow"]["adopted"]))
        (system.project / "released").touch()
        _, err = start.communicate(timeout=60)
    if start.returncode == 4:
        assert "error: slow: it ended while no supervisor watched it, so whether it succeeded is unknown\n" in err
        assert "hint: toombos run slow\n" in err
        assert phases(system) == {"slow": "failed", "web": "stopped"}
    else:  # it had ended before the start came to it, which ran it again
        assert (start.returncode, events(system)) == (0, ["slow", "slow"])


@pytest.mark.parametrize("seen", [True, False], ids=["it ends under the next supervisor", "it ends before that"])
def test_a_task_that_outlives_its_supervisor_is_not_done_by_guess(system: System, seen: bool) -> None:
    add_task(system, "slow", RELEASED)
    system.add("web")
    start = begun(system, "start")
    wait_for(lambda: system.phase("web") == "ready")
    os.kill(start.pid, signal.SIGSTOP)  # so that it does not start another supervisor
    try:
        system.kill_supervisor()
        leader = processes.identify(system.pid("slow"))
        assert leader is not None
        if seen:
            system("start", "web", exit_code=0)
        (system.project / "released").touch()
        wait_for(lambda: not processes.is_alive(leader))
        wait_for(lambda: system.row("slow")["phase"] == "failed")
        assert "whether it succeeded is unknown" in system.row("slow")["detail"]
    finally:
        start.kill()
        start.communicate()
    system("start", exit_code=0)
    assert system.row("slow")["phase"] == "done"


@pytest.mark.parametrize("by_hand", [False, True], ids=["a start ran it", "`toombos run` ran it"])
def test_a_task_runs_once_or_again_after_a_change(system: System, by_hand: bool) -> None:
    (system.project / "sql").mkdir()
    (system.project / "sql" / "1.sql").write_text("create")
    add_task(system, "seed", "true", run="once")
    add_task(system, "migrate", "true", run="changed", inputs=["sql/*.sql"])
    if by_hand:
        system("run", "seed", exit_code=0)
        system("run", "migrate", exit_code=0)
    else:
        assert system("start", exit_code=0).stdout.startswith("started: seed, migrate\n")
    done = system("start", exit_code=0)
    assert "seed: not run again: it succeeded on " in system("status", exit_code=0).stdout, done.stdout
    assert sorted(events(system)) == ["migrate", "seed"]
    (system.project / "sql" / "2.sql").write_text("alter")
    assert system("start", exit_code=0).stdout.startswith("started: migrate\n")
    system("start", exit_code=0)
    assert sorted(events(system)) == ["migrate", "migrate", "seed"]


def test_run_runs_one_task_alone_and_the_system_knows(shop: System) -> None:
    refused = shop("run", "migrate", exit_code=4)
    assert "error: migrate: it cannot run yet: db is not ready\nhint: toombos start db\n" in refused.stderr
    shop("start", exit_code=0)
    assert shop("run", "migrate", exit_code=0).stderr.startswith("migrate: done in ")
    (shop.project / "broken").touch()
    failed = shop("run", "migrate", exit_code=4)
    assert (failed.stdout, failed.stderr) == (
        "no such table: orders\n",
        "error: migrate: its process ended with exit code 3\n",
    )
    assert phases(shop) == {"migrate": "failed", "db": "ready", "web": "ready"}
    (shop.project / "broken").unlink()
    shop("run", "migrate", "--", "--plan", exit_code=0)
    assert phases(shop)["migrate"] == "failed", "a run with other arguments does not complete it"
    shop("run", "migrate", exit_code=0)
    assert phases(shop)["migrate"] == "done"
    assert "hint: toombos start web" in shop("run", "web", exit_code=2).stderr
    assert runs_in_history(shop, "migrate") == [
        *("started ", "done ", "started ", "failed exit code 3"),
        *("started ", "done ", "started ", "done "),
    ]


def test_run_refuses_a_task_that_runs_and_ends_its_own_with_its_command(system: System) -> None:
    add_task(system, "slow", RELEASED)
    with begun(system, "start") as start:
        assert "another instance of it is still running: pid " in system("run", "slow", exit_code=6).stderr
        (system.project / "released").touch()
        start.communicate(timeout=30)
    (system.project / "released").unlink()
    (system.project / "events").unlink()
    with system.begin("run", "slow") as run:
        wait_for(lambda: events(system) == ["slow"])
        run.terminate()
        run.communicate(timeout=30)
    assert run.returncode == 143
    (system.project / "released").touch()
    assert system("run", "slow", exit_code=0).stderr.startswith("slow: done")
    assert runs_in_history(system, "slow") == ["started ", "stopped interrupted", "started ", "done "]


def test_a_start_forgets_the_failures_of_the_last_one(system: System) -> None:
    """A dependent must not see how its dependency failed in the start before."""
    system.add("other")
    system.add("db")
    add_task(system, "migrate", "test -e fixed", depends_on=["db"])
    system.add("web", depends_on=["migrate"])
    system("start", exit_code=4)
    system("stop", "db", exit_code=0)
    (system.project / "fixed").touch()
    system("start", exit_code=0)


WAYS: dict[str, Callable[[System], object]] = {
    "the supervisor restarted it after a crash": lambda system: os.kill(system.pid("db"), signal.SIGKILL),
    "a command restarts it": lambda system: system("restart", "db", exit_code=0),
    "it is stopped and started": lambda system: (
        system("stop", "db", exit_code=0),
        system("start", "db", exit_code=0),
    ),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_dependents_are_restarted_in_order_if(system: System, way: Callable[[System], object]) -> None:
    system.add("db")
    system.add("app", depends_on={"db": {"restart": True}}, restart={"policy": "never"})
    system.add("web", depends_on={"db": {"restart": True}, "app": {"restart": True}})
    system.add("other", depends_on=["db"])
    system("start", exit_code=0)
    before = {name: system.pid(name) for name in ("db", "app", "web", "other")}
    way(system)
    wait_for(lambda: set(phases(system).values()) == {"ready"} and system.pid("web") not in (0, before["web"]))
    after = {name: system.pid(name) for name in before}
    assert [name for name in before if after[name] == before[name]] == ["other"]
    started = {name: system.state()["services"][name]["start_ticks"] for name in before}
    assert started["db"] <= started["app"] <= started["web"]
    rows = {row["name"]: row for row in system.status()["services"]}
    assert max(row["restarts"] for row in rows.values()) <= 1, "each is restarted once"
    if rows["db"]["restarts"]:
        assert rows["app"]["restart_history"][0]["reason"] == ("db was restarted: its process was ended by SIGKILL")


def test_a_task_that_ran_again_restarts_who_asks_for_it(system: System) -> None:
    add_task(system, "render", "true")
    system.add("web", depends_on={"render": {"restart": True}})
    system("start", exit_code=0)
    first = system.pid("web")
    system("run", "render", exit_code=0)
    wait_for(lambda: system.came_back("web"))
    assert system.pid("web") != first
    assert system.row("web")["restart_history"][0]["reason"] == "render ran again"


def test_a_service_becomes_a_task_and_a_task_a_service(system: System) -> None:
    add_task(system, "one", "true")
    system.add("web")
    system("start", exit_code=0)
    system.top = ""
    system.add("one")
    system("start", exit_code=0)
    assert phases(system)["one"] == "ready"
    system("stop", "one", exit_code=0)
    del system._tables["one"]
    add_task(system, "one", "true")
    system("start", exit_code=0)
    assert phases(system)["one"] == "done"


def test_after_a_restore_a_task_that_looks_for_changes_runs_again(system: System) -> None:
    add_task(system, "seed", "true", run="once")
    add_task(system, "migrate", "true", run="changed")
    system("start", exit_code=0)
    system("start", exit_code=0)
    SupervisedServices(system.project).start(("seed", "migrate"))
    assert sorted(events(system)) == ["migrate", "migrate", "seed"]


DEAF_CHILD = "(trap '' TERM; while :; do sleep 0.1; done) & echo $! > child; "


@pytest.mark.parametrize(
    ("then", "killed"),
    [("trap '' TERM; while :; do sleep 0.1; done", 2), ("wait", 1)],
    ids=["the task itself does not end either", "the task itself ends in order"],
)
def test_what_outlives_the_time_limit_of_a_task_is_killed_and_named(system: System, then: str, killed: int) -> None:
    add_task(system, "seed", DEAF_CHILD + then, timeout_s=0.5, grace_period_s=0.4)
    done = system("run", "seed", exit_code=4)
    said = re.search(
        r"not completed within 0\.5 s; (.*) did not end within 0\.4 s of SIGTERM and was killed", done.stderr
    )
    assert said is not None, done.stderr
    child = int((system.project / "child").read_text())
    assert f"pid {child} (" in said[1]
    assert said[1].count("pid ") >= killed
    assert processes.identify(child) is None


@pytest.mark.parametrize("after_s", [0.1, 1.4], ids=["at once", "after it counted as ready"])
def test_what_ends_in_order_without_being_a_task_is_told_how_to_become_one(system: System, after_s: float) -> None:
    command = ["sh", "-c", f"sleep {after_s}"]
    system.add("migrate", scheme="none", port=0, command=command, restart={"policy": "never"})
    system.add("web", scheme="none", port=0, command=["sleep", "60"], depends_on=["migrate"])
    done = system("start")
    wait_for(lambda: system.row("migrate")["phase"] not in ("ready", "starting"))
    hint = 'kind = "task" in [services.migrate]'
    assert done.returncode == 0 or hint in done.stderr
    (found,) = (f for f in data_of(system("diagnose", "--json"))["findings"] if f["service"] == "migrate" and f["fix"])
    assert hint in str(found["fix"]).replace('\\"', '"')
