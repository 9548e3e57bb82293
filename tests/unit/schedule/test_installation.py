"""Installing and removing: foreign lines stay byte for byte, units pass systemd's check, runs are recorded."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.programs import needs
from tests.support.runner import TOOMBOS
from tests.support.waiting import wait_for
from tests.unit.alerts.conftest import log_lines, wait_until_quiet
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.project.job_records import Installation, read_record, write_installation
from toombos_cli.schedule import crontab, systemd

FAKE_CRONTAB = f"""#!{sys.executable}
# Like Debian's crontab: -l prints, - installs unless the last newline is missing, -r removes.
import os, pathlib, sys
table = pathlib.Path(os.environ["FAKE_CRONTAB"])
if sys.argv[1] == "-":
    content = sys.stdin.buffer.read()
    if content and not content.endswith(b"\\n"):
        sys.exit("new crontab file is missing newline before EOF, can't install.")
    table.write_bytes(content)
elif not table.exists():
    sys.exit("no crontab for " + "tester")
elif sys.argv[1] == "-l":
    sys.stdout.buffer.write(table.read_bytes())
else:
    table.unlink()
"""

FOREIGN = {
    "none": None,
    "some lines": b"MAILTO=root\n# m h dom mon dow command\n15 3 * * * /usr/bin/true\n",
    "no newline at the end": b"15 3 * * * /usr/bin/true",
    "carriage returns": b"15 3 * * * /usr/bin/true\r\n@daily x\r\n",
    "not UTF-8": b"# caf\xe9\n@daily x\n",
    "blank lines": b"\n\n@daily x\n\n",
    "a block of another project": b"# BEGIN toombos 0123456789ab: x\n@daily x\n# END toombos 0123456789ab\n",
}


@pytest.fixture
def cron(tmp_path_factory, toombos):
    """Yield (run, file): a runner of toombos with a crontab program that keeps its table in the file."""
    directory = tmp_path_factory.mktemp("cron")
    program = directory / "crontab"
    program.write_text(FAKE_CRONTAB)
    program.chmod(0o755)
    table = directory / "table"
    env = {"PATH": f"{directory}:{os.environ['PATH']}", "FAKE_CRONTAB": str(table)}

    def run(*args):
        done = toombos(*args, env=env)
        assert done.returncode == 0, done.stderr
        return done

    return run, table


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN.keys())
def test_install_reinstall_and_remove_keep_foreign_lines_byte_for_byte(cron, foreign):
    run, table = cron
    if foreign is not None:
        table.write_bytes(foreign)
    run("schedule", "install", "--method", "cron")
    installed = table.read_bytes()
    ended = foreign if not foreign or foreign.endswith(b"\n") else foreign + b"\n"
    assert installed.startswith(ended or b"")
    own = installed[len(ended or b"") :].decode().splitlines()
    assert len(own) == 9
    assert own[1].startswith("*/5 * * * * ")
    run("schedule", "install", "--method", "cron")
    assert table.read_bytes() == installed
    run("schedule", "remove")
    if foreign is None:
        assert not table.exists()
    else:
        assert table.read_bytes() == ended


def test_lines_added_after_the_block_stay_after_it(cron, project):
    run, table = cron
    run("schedule", "install", "--method", "cron")
    table.write_bytes(b"@daily before\n" + table.read_bytes() + b"@daily after\n")
    with (project / "toombos.toml").open("a") as file:
        file.write("[schedule.rotation]\nenabled = false\n")
    run("schedule", "install", "--method", "cron")
    lines = table.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("@daily before", "@daily after")
    assert not any("rotation" in line for line in lines)
    run("schedule", "remove")
    assert table.read_text() == "@daily before\n@daily after\n"


def test_print_changes_nothing_and_prints_the_exact_block(cron):
    run, table = cron
    printed = run("schedule", "install", "--print", "--method", "cron").stdout
    assert not table.exists()
    run("schedule", "install", "--method", "cron")
    assert table.read_text() == printed


def test_a_block_without_its_end_is_refused_and_nothing_changes(cron, toombos):
    run, table = cron
    run("schedule", "install", "--method", "cron")
    damaged = table.read_bytes().rsplit(b"# END", 1)[0]
    table.write_bytes(damaged)
    env = {"PATH": f"{table.parent}:{os.environ['PATH']}", "FAKE_CRONTAB": str(table)}
    done = toombos("schedule", "install", "--method", "cron", env=env)
    assert done.returncode == 4
    assert "block is damaged" in done.stderr
    assert table.read_bytes() == damaged


def test_removing_a_schedule_that_was_never_installed_succeeds(cron):
    run, _ = cron
    assert "nothing was installed" in run("schedule", "remove").stdout


def test_a_machine_without_cron_and_systemd_gets_a_hint(toombos, tmp_path):
    done = toombos("schedule", "install", "--method", "cron", env={"PATH": str(tmp_path)})
    assert done.returncode == 4
    assert "hint: apt-get install cron" in done.stderr


def test_with_the_real_crontab_program(project, toombos):
    needs("crontab")
    before = subprocess.run(["crontab", "-l"], capture_output=True)
    if before.returncode == 0:
        pytest.skip("this user has a crontab, which a test does not touch")
    try:
        assert toombos("schedule", "install", "--method", "cron").returncode == 0
        listed = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=True).stdout
        assert listed == crontab.block(load_manifest(project)).decode()
        assert toombos("schedule", "show").stdout.startswith("schedule: cron")
    finally:
        assert toombos("schedule", "remove").returncode == 0
    after = subprocess.run(["crontab", "-l"], capture_output=True, text=True)
    assert "no crontab for" in after.stderr


STRANGE = ["plain", "with space", "per%cent", "quote'd", 'double"quote', "dollar$HOME", "back\\slash"]


@pytest.mark.parametrize("name", STRANGE)
def test_units_pass_the_check_of_systemd_whatever_the_project_name(tmp_path, name):
    analyze = needs("systemd-analyze")
    project = tmp_path / name
    project.mkdir()
    directory = tmp_path / "units"
    directory.mkdir()
    paths = []
    for unit, text in systemd.units(load_manifest(project)).items():
        (directory / unit).write_text(text)
        paths.append(directory / unit)
    assert len(paths) == 13
    done = subprocess.run(
        [analyze, "verify", "--user", "--man=no", *paths],
        capture_output=True,
        text=True,
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},  # not set if no user manager is running
    )
    complaints = [line for line in done.stderr.splitlines() if "toombos-" in line]
    assert (done.returncode, complaints) == (0, [])


@pytest.mark.parametrize("name", STRANGE)
def test_cron_runs_the_job_whatever_the_project_name(tmp_path, name):
    """Run the command of the line the way cron passes it to /bin/sh: up to a bare %, with \\% as %."""
    project = tmp_path / name
    project.mkdir()
    line = crontab.block(load_manifest(project)).decode().splitlines()[1]
    command = line.split(maxsplit=5)[5].replace("\\%", "\0")
    assert "%" not in command
    done = subprocess.run(
        ["/bin/sh", "-c", command.replace("\0", "%").replace("schedule run health", "schedule show --json")],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        cwd="/",
    )
    assert json.loads(done.stdout)["data"]["jobs"][0]["name"] == "health", done.stderr


@pytest.mark.parametrize("name", STRANGE)
def test_cron_starts_the_system_at_boot_with_the_path_of_now(tmp_path, name, monkeypatch):
    project = tmp_path / name
    project.mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/own%bin:{os.environ['PATH']}")
    (line,) = [line for line in crontab.block(load_manifest(project)).decode().splitlines() if "@reboot" in line]
    command = line.removeprefix("@reboot ").replace("\\%", "\0")
    assert "%" not in command
    done = subprocess.run(
        ["/bin/sh", "-c", command.replace("\0", "%").replace(sys.executable, "/usr/bin/env")],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        cwd="/",
    )
    assert done.returncode != 0  # env does not know toombos's options
    assert command.endswith("schedule run boot")
    assert command.replace("\0", "%").startswith(f"PATH={shlex.quote(os.environ['PATH'])} ")


def test_systemd_starts_the_system_with_the_user_manager_and_not_at_the_installation(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", '/own bin/with%percent:/with"quote:/usr/bin')
    units = systemd.units(load_manifest(tmp_path))

    (boot,) = [text for unit, text in units.items() if "boot" in unit]

    assert "WantedBy=default.target" in boot
    assert 'Environment="PATH=/own bin/with%%percent:/with\\"quote:/usr/bin"' in boot
    assert not [
        unit for unit, text in units.items() if "PATH=" in text and "boot" not in unit and "supervis" not in unit
    ]


# -- running a job


def job(project: Path, *command: str) -> None:
    quoted = ", ".join(f'"{part}"' for part in command)
    text = (project / "toombos.toml").read_text()
    (project / "toombos.toml").write_text(f"{text}[schedule.own]\nevery_minutes = 5\ncommand = [{quoted}]\n")


def test_a_run_is_recorded_and_shown(project, toombos):
    job(project, "schedule", "show")
    done = toombos("schedule", "run", "own")
    assert (done.returncode, done.stdout) == (0, "")  # cron mails any output
    shown = json.loads(toombos("schedule", "show", "--json").stdout)["data"]["jobs"]
    row = next(row for row in shown if row["name"] == "own")
    assert (row["exit_code"], row["missed"]) == (0, False)
    assert "own: exit code 0\n  schedule: not installed" in (project / "logs" / "schedule.log").read_text()
    wait_until_quiet(project)


def test_a_failed_run_exits_1_and_raises_an_alert_that_the_next_success_resolves(project, toombos):
    job(project, "logs", "--grep", "(")
    assert toombos("schedule", "run", "own").returncode == 1
    wait_until_quiet(project)
    (raised,) = log_lines(project, "raised")
    assert (raised["key"], raised["severity"]) == ("schedule:own", "P2")
    text = (project / "toombos.toml").read_text()
    (project / "toombos.toml").write_text(
        text.replace('command = ["logs", "--grep", "("]', 'command = ["schedule", "show"]')
    )
    assert toombos("schedule", "run", "own").returncode == 0
    wait_until_quiet(project)
    assert "no open alerts" in toombos("alert", "status").stdout


def test_a_killed_run_is_shown_and_raises_an_alert_but_a_running_one_does_not(project, toombos):
    job(project, "schedule", "show")
    with (project / "toombos.toml").open("a") as file:
        file.write('[schedule.long]\nat = "03:00"\ncommand = ["logs", "-f"]\n')
    argv = [*TOOMBOS, "--project", str(project), "schedule", "run", "long"]
    running = subprocess.Popen(argv, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: read_record(project, "long") is not None)
        shown = json.loads(toombos("schedule", "show", "--json").stdout)["data"]["jobs"]
        assert [row["broken_off"] for row in shown if row["name"] == "long"] == [False]
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    assert "WARN broken off" in toombos("schedule", "show").stdout
    assert toombos("schedule", "run", "own").returncode == 0
    wait_until_quiet(project)
    assert [line["key"] for line in log_lines(project, "raised")] == ["schedule:long"]
    text = (project / "toombos.toml").read_text().replace('"logs", "-f"', '"schedule", "show"')
    (project / "toombos.toml").write_text(text)
    assert toombos("schedule", "run", "long").returncode == 0
    wait_until_quiet(project)
    assert "no open alerts" in toombos("alert", "status").stdout


def test_an_unknown_job_exits_2_with_the_nearest_name(toombos):
    done = toombos("schedule", "run", "bakup")
    assert done.returncode == 2
    assert "did you mean 'backup'?" in done.stderr


def test_a_job_does_not_run_twice_at_the_same_time(project, toombos):
    import fcntl

    job(project, "schedule", "show")
    lock = project / "run" / "schedule" / "own.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert toombos("schedule", "run", "own").returncode == 6


def installed_long_ago(project: Path) -> None:
    write_installation(project, Installation(method="cron", installed_at=time.time() - 90 * 86400))


@pytest.mark.parametrize("command", [("health",), ("backup", "status")], ids=" ".join)
def test_missed_runs_are_reported_by_other_commands(project, toombos, command):
    assert "did not run" not in toombos(*command).stderr
    installed_long_ago(project)
    said = toombos(*command).stderr
    assert "warning: the scheduled job backup was due on" in said
    assert "did not run (never yet)" in said
    assert "hint: toombos schedule show" in said
    (backup,) = (
        run for run in json.loads(toombos(*command, "--json").stdout)["data"]["missed_runs"] if run["job"] == "backup"
    )
    assert datetime.fromisoformat(backup["due_at"]) < datetime.now(UTC)
    assert backup["last_run_at"] is None


def test_a_running_job_raises_alerts_for_missed_ones_that_their_next_run_resolves(project, toombos):
    installed_long_ago(project)
    job(project, "schedule", "show")
    assert toombos("schedule", "run", "own").returncode == 0
    wait_until_quiet(project)
    missed = {line["key"] for line in log_lines(project, "raised")}
    assert {"missed:backup", "missed:restore-drill"} <= missed
    assert "missed:own" not in missed
    text = (project / "toombos.toml").read_text() + '[schedule.backup]\ncommand = ["schedule", "show"]\n'
    (project / "toombos.toml").write_text(text)
    assert toombos("schedule", "run", "backup").returncode == 0
    wait_until_quiet(project)
    assert [line["key"] for line in log_lines(project, "recovered: The scheduled job")] == ["missed:backup"]
