"""Systems with no fault, one fault or several: the number of roots and their order."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.faults.diagnose.conftest import DryRun
from tests.support.runner import clean_environment
from tests.support.waiting import wait_for


def test_a_healthy_system_has_no_findings(system: DryRun):
    found = system.diagnose()
    assert (found.wrong, found.roots, found.exit_code) == ([], [], 0)


@pytest.mark.full
def test_a_healthy_system_has_no_findings_fifty_times_in_a_row(system: DryRun):
    for _ in range(50):
        found = system.diagnose()
        assert (found.wrong, found.exit_code) == ([], 0)


def test_a_stopped_system_has_one_root_with_the_start_command(system: DryRun):
    assert system.run("stop").returncode == 0
    found = system.diagnose()
    root = found.only_root("system.stopped")
    assert (root["fix"]["command"], found.exit_code) == (f"toombos --project {system.project} start", 1)
    system.paste(root["fix"]["command"])
    system.wait_until_well()


def test_a_killed_mock_and_stale_settings_are_two_roots_with_the_failure_first(system: DryRun):
    os.kill(system.pid("crm"), signal.SIGKILL)
    wait_for(lambda: system.state("crm")["phase"] == "failed", what="the supervisor's note")
    system.env_file.write_text(system.env_text + "MOCK_SEED=7\n")
    assert system.diagnose().roots == ["proc.missing", "stale"]


def test_a_full_disk_and_a_stopped_generator_are_two_roots_with_the_disk_first(system: DryRun):
    assert system.run("stop", "generator").returncode == 0
    (system.project / "toombos.toml").write_text(system.manifest + "[monitoring.thresholds]\ndisk_ratio = 0.0001\n")
    assert system.diagnose().roots == ["res.disk", "proc.missing"]


def test_the_only_option_shows_the_requested_checks_with_the_same_causes(system: DryRun):
    os.kill(system.pid("crm"), signal.SIGKILL)
    wait_for(lambda: system.state("crm")["phase"] == "failed", what="the supervisor's note")
    found = system.diagnose("--only", "net.refused", "--only", "database")
    assert {f["id"] for f in found.findings} >= {"net.refused", "db.ping"}
    assert not {f["id"] for f in found.findings} & {"proc.missing", "parse"}
    assert found.finding("net.refused", "crm")["explained_by"] == "proc.missing"
    assert found.roots == []


def test_the_service_option_shows_only_findings_about_that_service(system: DryRun):
    found = system.diagnose("--service", "platform")
    assert {f["service"] for f in found.findings} <= {"platform", ""}


def test_an_unknown_check_is_a_usage_error_that_suggests_the_nearest_name(system: DryRun):
    done = system.run("diagnose", "--only", "net.refussed")
    assert (done.returncode, "net.refused" in done.stderr) == (2, True)


def test_a_start_that_fails_because_of_one_service_has_one_root(system: DryRun):
    assert system.run("stop").returncode == 0
    table = "[services.platform]\n"
    (system.project / "toombos.toml").write_text(
        system.manifest.replace(table, f'{table}command = ["{{python}}", "-P", "-m", "services.no_such"]\n')
    )
    assert system.run("start").returncode == 4
    system.diagnose().only_root("py.import", "platform")


def test_settings_that_the_services_refused_are_the_only_root(system: DryRun):
    assert system.run("stop").returncode == 0
    system.env_file.write_text(system.env_text.replace("DRY_RUN_MODE=true", "DRY_RUN_MODE: true"))
    assert system.run("start").returncode == 3
    root = system.diagnose().only_root("parse")
    system.paste(root["fix"]["command"])
    assert system.run("start").returncode == 0
    system.wait_until_well()


def test_a_killed_supervisor_is_reported_and_the_fix_replaces_it(system: DryRun):
    state = json.loads((system.project / "run" / "state.json").read_bytes())
    os.kill(state["supervisor_pid"], signal.SIGKILL)
    root = system.diagnose().only_root("proc.supervision")
    system.paste(root["fix"]["command"])
    system.wait_until_well()


def test_a_service_started_by_hand_is_not_mistaken_for_a_stranger(system: DryRun):
    assert system.run("stop", "crm").returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "services.crm"],
        cwd=system.project,
        env=clean_environment() | {"PORT": str(system.ports["crm"])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: system.diagnose("--only", "health").wrong == [], within_s=30, what="a response of crm")
        root = system.diagnose().only_root("proc.supervision", "crm")
        assert f"pid {process.pid}" in root["reason"]
    finally:
        process.kill()
        process.wait()
