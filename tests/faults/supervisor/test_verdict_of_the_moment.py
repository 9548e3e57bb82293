"""The output of start, restart and status is true when it is printed, not only a moment before."""

import json
from pathlib import Path
from typing import Any

import pytest


def write(system: Any, services: dict[str, tuple[str, dict[str, Any]]]) -> None:
    """Write a `toombos.toml` of services without a port: each has a shell script and the other keys of its table."""
    lines = ['name = "moment"']
    for name, (script, table) in services.items():
        lines += [f"[services.{name}]", f"command = {json.dumps(['sh', '-c', script])}", 'scheme = "none"']
        lines += [f"{key} = {value}" for key, value in table.items()]
    (system.project / "toombos.toml").write_text("\n".join(lines) + "\n")


STAYS = "exec sleep 60"
NEVER = {"restart": '{ policy = "never" }'}
ENDS = {
    "ends with code 1": ("echo it broke; sleep 1.2; exit 1", NEVER, "its process ended with exit code 1"),
    "ends with code 0": ("echo it broke; sleep 1.2", NEVER, "its process ended with exit code 0"),
    "ends by a signal": ("echo it broke; sleep 1.2; kill -9 $$", NEVER, "its process was ended by SIGKILL"),
    "ends and would be restarted": ("echo it broke; sleep 1.2; exit 1", {}, "its process ended with exit code 1"),
}


@pytest.mark.parametrize("command", ["start --all-or-nothing", "start --all-or-nothing a b c"])
@pytest.mark.parametrize(("script", "table", "reason"), ENDS.values(), ids=[f"the service {how}" for how in ENDS])
def test_a_service_that_ends_before_the_others_are_ready_fails_the_start(
    system: Any, script: str, table: dict[str, str], reason: str, command: str
) -> None:
    marker = system.project / "c-was-started"
    write(
        system,
        {
            "a": (script, table),
            "b": (STAYS, {"depends_on": '["a"]'}),
            "c": (f"touch {marker}; {STAYS}", {"depends_on": '["b"]'}),
        },
    )
    done = system(*command.split(), exit_code=4)
    assert f"error: a: {reason}" in done.stderr
    hint = "if it is meant to end: kind =" if "code 0" in reason else "toombos logs a"
    assert f"hint: {hint}" in done.stderr
    assert "  | it broke" in done.stderr
    assert done.stdout.startswith("not started: a\n")
    assert not marker.exists(), "a dependent was started although its dependency had ended"
    rows = {row["name"]: row for row in system.status()["services"]}
    assert [rows[name]["pid"] for name in "abc"] == [None, None, None]
    assert (rows["a"]["phase"], rows["a"]["detail"]) == ("stopped" if reason.endswith(" 0") else "failed", reason)


def test_json_output_of_a_failed_start_names_the_service_that_ended(system: Any) -> None:
    write(system, {"a": ("sleep 1.2; exit 1", NEVER), "b": (STAYS, {"depends_on": '["a"]'})})
    envelope = json.loads(system("start", "--json", exit_code=4).stdout)
    assert (envelope["verdict"], envelope["errors"][0]["where"]) == ("error", "a")
    assert [failure["service"] for failure in envelope["data"]["failures"]] == ["a"]


def test_a_failed_start_does_not_stop_services_that_were_already_running(system: Any, eventually: Any) -> None:
    gone = system.project / "gone"
    write(
        system,
        {
            "old": (f"while [ ! -e {gone} ]; do sleep 0.05; done; exit 3", NEVER),
            "other": (STAYS, {}),
            "new": (STAYS, {"depends_on": '["old"]', "optional": "true"}),
        },
    )
    system("start", exit_code=0)
    process = system.begin("start", "new")
    eventually(lambda: system.state()["services"].get("new", {}).get("pid"))
    gone.touch()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 4, out + err
    assert "error: old: its process ended with exit code 3" in err
    assert system.phase("other") == "ready"


CRASHES = "sleep 1.3; exit 3"
NOT_READY = {
    "the service crashed and is being restarted": ("starting", "{ backoff_initial_s = 20.0 }"),
    "the service is in a crash loop": ("crash-loop", "{ crash_loop_count = 1, backoff_initial_s = 0.1 }"),
    "the service ended and is not restarted": ("failed", '{ policy = "never" }'),
}


@pytest.mark.parametrize(("phase", "restart"), NOT_READY.values(), ids=NOT_READY)
def test_status_exits_1_if_a_service_is_not_ready(system: Any, eventually: Any, phase: str, restart: str) -> None:
    write(system, {"flaky": (CRASHES, {"restart": restart}), "steady": (STAYS, {})})
    system("start", "flaky", exit_code=0)
    eventually(lambda: system.phase("flaky") == phase)
    shown = system("status", "flaky", exit_code=1)
    assert "its process ended with exit code 3" in shown.stdout
    assert system("status", exit_code=1).returncode == 1
    document = json.loads(system("status", "--json", exit_code=1).stdout)
    assert document["verdict"] == "fail"


def test_status_exits_1_during_a_first_start_and_counts_the_ready_services(system: Any, eventually: Any) -> None:
    go = system.project / "go"
    system.add("steady")
    system.add("slow", command=["sh", "-c", f"while [ ! -e {go} ]; do sleep 0.05; done; exec {{python}} -P {WEB}"])
    starting = system.begin("start")
    state = system.project / "run" / "state.json"
    eventually(lambda: state.exists() and [system.phase(name) for name in ("steady", "slow")] == ["ready", "starting"])
    first_line = system("status", exit_code=1).stdout.splitlines()[0]
    assert first_line.endswith("1 of 2 ready"), first_line
    go.touch()
    starting.communicate(timeout=60)
    assert system("status", exit_code=0).stdout.splitlines()[0].endswith("mode")


WEB = Path(__file__).parents[1] / "services" / "web.py"


def test_the_first_line_of_status_agrees_with_the_rows(system: Any, eventually: Any) -> None:
    gone = system.project / "gone"
    script = f"while [ ! -e {gone} ]; do sleep 0.05; done; exit 3"
    write(system, {"flaky": (script, {"restart": "{ backoff_initial_s = 20.0 }"})})
    assert system("status", exit_code=1).stdout.splitlines()[0] == "not running"
    system("start", exit_code=0)
    assert system("status", exit_code=0).stdout.splitlines()[0] == "running"
    gone.touch()
    eventually(lambda: system.phase("flaky") == "starting")
    assert system("status", exit_code=1).stdout.splitlines()[0] == "running: 0 of 1 ready"


def test_start_reports_an_unhealthy_running_service_as_not_ready(system: Any, eventually: Any) -> None:
    status = system.project / "status"
    system.add("crm", env={"STATUS_FILE": str(status)}, probe_interval_s=0.1, unhealthy_after=3)
    system("start", exit_code=0)
    pid = system.pid("crm")
    status.write_text("500")
    eventually(lambda: system.phase("crm") == "unhealthy")
    done = system("start", exit_code=4)
    assert done.stdout.startswith("not ready: crm\n")
    assert "error: crm: /health returned 500" in done.stderr
    assert system.pid("crm") == pid


def test_stop_warns_about_a_service_that_it_had_to_kill(system: Any) -> None:
    write(system, {"deaf": ("trap '' TERM; while :; do sleep 0.1; done", {"grace_period_s": "0.3"})})
    system("start", exit_code=0)
    done = system("stop", exit_code=0)
    assert "warning: deaf: pid " in done.stderr
    assert "did not end within 0.3 s of SIGTERM and was killed" in done.stderr
    system("start", exit_code=0)
    assert json.loads(system("stop", "--json", exit_code=0).stdout)["verdict"] == "warn"


NOTHING = {"start": "nothing to start", "stop": "nothing is running"}


@pytest.mark.parametrize("command", NOTHING)
def test_the_verdict_is_skip_if_there_is_nothing_to_do(system: Any, command: str) -> None:
    write(system, {"spare": (STAYS, {"optional": "true"})})
    assert system(command, exit_code=0).stdout.strip() == NOTHING[command]
    assert json.loads(system(command, "--json", exit_code=0).stdout)["verdict"] == "skip"
