"""The life of a supervised service: settings, health, restarts, limits and logs."""

import json
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.runner import TOOMBOS, data_of
from toombos_cli import processes
from toombos_cli.logs.archives import archive_content


def environment_of(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/environ").read_bytes().decode()
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


def test_the_environment_overrides_env_file_and_default_env_and_the_mode_overrides_all(system: Any) -> None:
    system.add("crm", default_env={"A": "manifest", "B": "manifest", "C": "manifest", "DRY_RUN_MODE": "false"})
    (system.project / ".env").write_text("B=file\nC=file\nDRY_RUN_MODE=false\nPORT=1\n")
    system("start", "--dry-run", env={"C": "shell", "DRY_RUN_MODE": "false"}, exit_code=0)
    seen = environment_of(system.pid("crm"))
    assert (seen["A"], seen["B"], seen["C"]) == ("manifest", "file", "shell")
    assert seen["DRY_RUN_MODE"] == "true"
    assert seen["PORT"] == str(system.ports["crm"])


def test_run_files_do_not_contain_environment_values(system: Any) -> None:
    system.add("crm", env={"TOKEN": "s3cr3t-of-the-manifest"})
    (system.project / ".env").write_text("API_KEY=s3cr3t-of-the-file\n")
    system("start", exit_code=0)
    system("restart", exit_code=0)
    for path in (system.project / "run").iterdir():
        if path.is_file():
            assert b"s3cr3t" not in path.read_bytes(), path


def test_a_dry_run_stays_dry_after_restart_and_further_starts(pair: Any) -> None:
    pair("start", "--dry-run", "crm", exit_code=0)
    pair("start", exit_code=0)
    pair("restart", exit_code=0)
    for name in ("crm", "app"):
        assert environment_of(pair.pid(name))["DRY_RUN_MODE"] == "true"
    assert pair.status()["mode"] == "dry_run"


def test_a_second_start_says_that_everything_is_running_and_changes_nothing(pair: Any) -> None:
    pair("start", "--dry-run", exit_code=0)
    pids = (pair.pid("crm"), pair.pid("app"))
    again = pair("start", "--dry-run", exit_code=0)
    assert "already running in mode dry_run" in again.stdout
    assert (pair.pid("crm"), pair.pid("app")) == pids


def test_a_preview_starts_nothing_and_writes_nothing(pair: Any) -> None:
    shown = pair("start", "--dry-run", "--preview", exit_code=0)
    assert shown.stdout.index("1. crm") < shown.stdout.index("2. app")
    assert f"PORT={pair.ports['crm']}" in shown.stdout
    assert "DRY_RUN_MODE=true" in shown.stdout
    assert "nothing was started" in shown.stdout
    assert sorted(path.name for path in pair.project.iterdir()) == ["toombos.toml"]


def test_a_preview_shows_what_is_already_running_and_in_which_mode(pair: Any) -> None:
    pair("start", "crm", "--dry-run", exit_code=0)
    shown = pair("start", "--preview", exit_code=0).stdout
    assert "Would start 1 service in mode dry_run" in shown
    assert f"1. crm on 127.0.0.1:{pair.ports['crm']}, already running as pid {pair.pid('crm')}" in shown
    assert "DRY_RUN_MODE=true" in shown


def test_a_service_that_waits_for_its_restart_has_no_pid_memory_or_cpu(system: Any, eventually: Any) -> None:
    system.add("crm", restart={"backoff_initial_s": 20.0})
    system("start", exit_code=0)
    eventually(lambda: system.row("crm")["rss_bytes"])
    os.kill(system.pid("crm"), signal.SIGKILL)
    eventually(lambda: system.came_back("crm"))  # the first time at once
    os.kill(system.pid("crm"), signal.SIGKILL)
    eventually(lambda: system.pid("crm") == 0)
    assert [system.row("crm")[key] for key in ("pid", "rss_bytes", "cpu_percent")] == [None, None, None]


def test_restart_changed_restarts_only_the_services_that_changed(pair: Any) -> None:
    pair("start", exit_code=0)
    pids = {name: pair.pid(name) for name in ("crm", "app")}
    pair.add("crm", env={"GREETING": "another crm"})
    noted = pair("start", exit_code=0)
    assert "the configuration of crm has changed since its start: toombos restart --changed" in noted.stderr
    assert pair.pid("crm") == pids["crm"]
    pair("restart", "--changed", exit_code=0)
    assert pair.pid("crm") != pids["crm"]
    assert pair.pid("app") == pids["app"]
    assert "hello from another crm" in pair("logs", "crm", exit_code=0).stdout
    assert "still runs" not in pair("start", exit_code=0).stderr


def test_restart_changed_notices_a_changed_env_file(system: Any) -> None:
    system.add("crm")
    system("start", exit_code=0)
    (system.project / ".env").write_text("GREETING=a changed file\n")
    system("restart", "--changed", exit_code=0)
    assert environment_of(system.pid("crm"))["GREETING"] == "a changed file"


def test_a_service_that_fails_its_probes_is_unhealthy_until_it_responds_again(system: Any, eventually: Any) -> None:
    status = system.project / "status"
    system.add("crm", env={"STATUS_FILE": str(status)}, probe_interval_s=0.1, unhealthy_after=3)
    system("start", exit_code=0)
    pid = system.pid("crm")
    status.write_text("500")
    eventually(lambda: system.phase("crm") == "unhealthy")
    assert system.row("crm")["detail"] == "/health returned 500"
    assert "unhealthy" in system("status", exit_code=1).stdout
    status.unlink()
    eventually(lambda: system.phase("crm") == "ready")
    assert system.pid("crm") == pid


def test_a_restarted_service_keeps_its_log_and_records_the_reason(system: Any, eventually: Any) -> None:
    system.add("crm")
    system("start", exit_code=0)
    began = time.time()
    os.kill(system.pid("crm"), signal.SIGKILL)
    eventually(lambda: system.came_back("crm"))
    assert system.log("crm").read_text().count("hello from web") == 2
    row = system.row("crm")
    assert row["restarts"] == 1
    (restart,) = row["restart_history"]
    assert restart["reason"] == "its process was ended by SIGKILL"
    at = time.strptime(restart["at"], "%Y-%m-%dT%H:%M:%SZ")
    assert abs(time.mktime(at) - time.timezone - began) < 5


POLICIES = {
    "policy never after a crash": ("never", signal.SIGKILL, "failed"),
    "policy on-failure after a clean exit": ("on-failure", signal.SIGTERM, "stopped"),
}


@pytest.mark.parametrize(("policy", "number", "phase"), POLICIES.values(), ids=POLICIES.keys())
def test_a_restart_policy_can_leave_a_service_ended(
    system: Any, eventually: Any, policy: str, number: int, phase: str
) -> None:
    system.add("crm", restart={"policy": policy})
    system.add("app")
    system("start", exit_code=0)
    os.kill(system.pid("crm"), number)
    eventually(lambda: system.phase("crm") == phase)
    assert list(system.tagged()) == [system.pid("app")]


def test_a_service_above_its_memory_limit_is_restarted_for_that_reason(system: Any, eventually: Any) -> None:
    system.add("crm", limits={"memory_restart_mb": 1, "sustained_s": 0.0})
    system("start", exit_code=0)
    eventually(lambda: system.came_back("crm"))
    assert "MB of memory, the limit is 1" in system.row("crm")["restart_history"][0]["reason"]


def test_a_service_above_its_warning_limit_is_reported_and_left_running(system: Any, eventually: Any) -> None:
    system.add("crm", limits={"memory_warn_mb": 1, "sustained_s": 0.0})
    system("start", exit_code=0)
    eventually(lambda: system.state()["services"]["crm"]["warnings"])
    shown = system("status", exit_code=0)
    assert "MB of memory, more than 1" in shown.stdout
    assert system("status", "--strict").returncode == 1


def test_a_removed_socket_is_created_again(system: Any, eventually: Any) -> None:
    system.add("crm")
    system("start", exit_code=0)
    pid = system.pid("crm")
    (system.project / "run" / "supervisor.sock").unlink()
    eventually(lambda: (system.project / "run" / "supervisor.sock").exists())
    assert system.row("crm")["phase"] == "ready"
    assert system.pid("crm") == pid


def test_a_removed_run_directory_is_created_again_by_the_same_supervisor(pair: Any, eventually: Any) -> None:
    """`git clean -fdX` removes everything in run/ and logs/ while the services run."""
    pair("start", exit_code=0)
    before = {name: pair.pid(name) for name in ("crm", "app")}
    supervisor = pair.state()["supervisor_pid"]
    shutil.rmtree(pair.project / "run")
    shutil.rmtree(pair.project / "logs")
    eventually(lambda: (pair.project / "run" / "supervisor.sock").exists())
    eventually(lambda: "removed" in pair("status").stdout)
    assert {name: pair.pid(name) for name in before} == before
    assert pair.state()["supervisor_pid"] == supervisor
    pair("restart", exit_code=0)
    eventually(lambda: "removed" not in pair("status", exit_code=0).stdout)
    pair("stop", exit_code=0)
    assert pair.tagged() == {}


def test_a_supervisor_that_was_replaced_exits_and_changes_nothing(pair: Any, eventually: Any) -> None:
    pair("start", exit_code=0)
    first = int(pair.state()["supervisor_pid"])
    os.kill(first, signal.SIGSTOP)  # so that it cannot notice yet that its directory is gone
    shutil.rmtree(pair.project / "run")
    pair("start", exit_code=0)
    pids = {name: pair.pid(name) for name in ("crm", "app")}
    os.kill(first, signal.SIGCONT)
    eventually(lambda: processes.identify(first) is None)
    assert {row["name"]: row["pid"] for row in pair.status()["services"]} == pids
    assert pair.state()["supervisor_pid"] != first
    assert {name: pair.answer(name) for name in pids} == pids
    pair("stop", exit_code=0)
    assert pair.tagged() == {}


def test_the_files_in_run_and_logs_are_private(pair: Any) -> None:
    pair("start", exit_code=0)
    for folder in ("run", "logs"):
        assert (pair.project / folder).stat().st_mode & 0o777 == 0o700
        for path in (pair.project / folder).rglob("*"):
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_the_supervisor_rotates_a_flooded_log_and_loses_no_line(system: Any, eventually: Any) -> None:
    count = 600_000  # 63 MB at 20 MB/s: about three seconds, and the log is checked each second
    flood = Path(__file__).parent.parent / "services" / "flood.py"
    system.top = "[logs]\nmax_mb = 2\nkeep = 100\n"
    system.add("crm", command=["{python}", "-P", str(flood)], env={"COUNT": str(count), "RATE_MB_S": "20"})
    system("start", exit_code=0)
    if _file_system_of(system.project) not in ("ext4", "xfs"):
        pytest.skip("needs ext4 or XFS: elsewhere a rotation may lose lines, and status says so")
    last = b"line %09d" % (count - 1)
    archives = lambda: sorted(system.log("crm").parent.glob("crm.log.2*"))  # noqa: E731  (one expression used twice)
    eventually(lambda: last in _content(archives()) + system.log("crm").read_bytes(), within_s=60)
    system("stop", exit_code=0)
    assert len(archives()) >= 2
    whole = _content(archives()) + system.log("crm").read_bytes()
    numbers = [int(line.split()[1]) for line in whole.split(b"\n") if line.startswith(b"line ")]
    assert numbers == list(range(count))


def test_the_line_limit_of_logs_also_applies_with_since(system: Any) -> None:
    system.add("crm")
    system.log("crm").parent.mkdir()
    system.log("crm").write_text("".join(f"line {n}\n" for n in range(60)))
    assert system("logs", exit_code=0).stdout.splitlines() == [f"line {n}" for n in range(10, 60)]
    assert len(system("logs", "--since", "1h", exit_code=0).stdout.splitlines()) == 60
    assert system("logs", "--since", "1h", "-n", "2", exit_code=0).stdout == "line 58\nline 59\n"


@pytest.mark.parametrize("since", ["99999999999d", "1000000d", "0001-01-01", "soon", "-5m"])
def test_an_invalid_time_is_a_usage_error(system: Any, since: str) -> None:
    system.add("crm")
    failed = system("logs", f"--since={since}", exit_code=2)
    assert f"--since '{since}' is not a time" in failed.stderr


def test_the_supervisor_does_not_keep_the_pipes_of_its_shell_open(system: Any) -> None:
    """A pipe that the shell has open besides stdout and stderr is closed when `start` exits."""
    system.add("crm")
    read, write = os.pipe()
    os.set_inheritable(write, True)
    start = subprocess.Popen(
        [*TOOMBOS, "start"],
        cwd=system.project,
        stdout=subprocess.DEVNULL,
        close_fds=False,
    )
    os.close(write)
    assert start.wait(60) == 0
    assert select.select([read], [], [], 10.0)[0], "a process still holds the pipe open"
    assert os.read(read, 1) == b""
    os.close(read)


def test_logs_follow_several_services_at_once(pair: Any, eventually: Any, tmp_path: Path) -> None:
    pair("start", exit_code=0)
    following = pair.begin("logs", "-f", "-n", "0", "--json")
    seen: list[str] = []
    reader = threading.Thread(target=lambda: seen.extend(json.loads(line)["line"] for line in following.stdout))
    reader.start()

    def both_were_seen() -> bool:
        for name in ("crm", "app"):
            with pair.log(name).open("a") as log:
                log.write(f"news of {name}\n")
        return {"news of crm", "news of app"} <= set(seen)

    try:
        eventually(both_were_seen)
    finally:
        following.send_signal(signal.SIGINT)
        following.wait(timeout=10)
        reader.join()
        following.stdout.close()
        following.stderr.close()
    assert following.returncode == 130


@pytest.mark.parametrize("command", [["logs", "-f"], ["status", "--watch", "--every", "600"]], ids=" ".join)
def test_an_endless_command_ends_soon_after_its_reader(pair: Any, command: list[str]) -> None:
    """The command has no new line to write, so it cannot rely on a failed write."""
    pair("start", exit_code=0)
    process = pair.begin(*command)
    try:
        assert "app | hello from web\n" in iter(process.stdout.readline, "")
        process.stdout.close()
        assert process.wait(timeout=10) == 141
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.stderr.close()


STEP_OF_THE_CLOCK = """
import os, time
clock = time.time
time.time = lambda: clock() + (3600 if os.path.exists(os.environ["STEPPED"]) else 0)
"""


def test_a_clock_step_does_not_change_uptime_or_start_duration(system: Any, eventually: Any, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(STEP_OF_THE_CLOCK)
    clock = {"PYTHONPATH": str(tmp_path), "STEPPED": str(tmp_path / "stepped")}
    system.add("crm", env={"START_DELAY_S": "1"})
    start = system.begin("start", env=clock)
    eventually(lambda: (tmp_path / "run" / "state.json").exists() and system.pid("crm"))
    (tmp_path / "stepped").touch()
    start.communicate(timeout=30)
    assert start.returncode == 0
    (row,) = json.loads(system("status", "--json", exit_code=0, env=clock).stdout)["data"]["services"]
    assert 1 <= row["ready_after_s"] <= row["uptime_s"] + 0.1 < 60


def _content(archives: list[Path]) -> bytes:
    """Return the content of the archives, even if one was compressed after it was listed."""
    return b"".join(archive_content(path) for path in archives if path.suffix != ".part")


def _file_system_of(path: Path) -> str:
    return (
        subprocess.run(["stat", "--file-system", "--format=%T", str(path)], capture_output=True, text=True, check=True)
        .stdout.strip()
        .replace("ext2/ext3", "ext4")
    )


def test_a_restart_of_all_includes_what_has_failed_but_not_what_was_stopped(system: Any) -> None:
    for name in ("web", "worker", "spare"):
        system.add(name, command=["sh", "-c", f"test -e {name} && exec sleep 60; exit 3"], scheme="none", port=0)
        (system.project / name).touch()
    (system.project / "worker").unlink()
    system("start", exit_code=4)
    system("stop", "spare", exit_code=0)
    assert [system.row(name)["phase"] for name in ("web", "worker", "spare")] == ["ready", "failed", "stopped"]
    (system.project / "worker").touch()
    system("restart", exit_code=0)
    assert [system.row(name)["phase"] for name in ("web", "worker", "spare")] == ["ready", "ready", "stopped"]


def test_a_service_whose_table_was_removed_while_it_runs_is_named_until_it_is_stopped(system: Any) -> None:
    for name in ("web", "old"):
        system.add(name, command=["sleep", "60"], scheme="none", port=0)
    system("start", exit_code=0)
    del system._tables["old"]
    system.write()
    note = "note: old runs, but is no longer in toombos.toml: toombos stop old"
    for command in ("start", "restart"):
        assert note in system(command, exit_code=0).stderr
    (found,) = (f for f in data_of(system("diagnose", "--json"))["findings"] if "no longer in" in f["reason"])
    assert (found["id"], found["verdict"]) == ("proc.supervision", "warn")
    system("stop", "old", exit_code=0)
    assert system.tagged().keys() == {system.pid("web")}
    assert note not in system("start", exit_code=0).stderr


def test_diagnose_names_why_a_service_ended_that_waits_for_its_next_start(system: Any, eventually: Any) -> None:
    ends = ["sh", "-c", "sleep 1.3; echo 'FATAL: no licence'; exit 7"]
    pause = {"backoff_initial_s": 60, "backoff_max_s": 60}
    system.add("web", command=ends, scheme="none", port=0, restart=pause)
    system("start", exit_code=0)
    eventually(lambda: system.row("web")["phase"] == "starting" and not system.row("web")["pid"])
    (found,) = (f for f in data_of(system("diagnose", "--json"))["findings"] if f["id"] == "proc.missing")
    assert found["verdict"] == "fail"
    assert found["reason"].startswith("web has ended and is being started again")
    assert "its process ended with exit code 7" in found["cause"]
    assert "logs web" in str(found["fix"])
