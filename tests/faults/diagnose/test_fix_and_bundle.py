"""`--fix` runs the safe fixes; a bundle gives the same diagnosis on another machine."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.faults.diagnose.conftest import DryRun, Found
from tests.faults.diagnose.test_fifteen_faults import edit_env, foreign_server
from tests.support.programs import needs
from tests.support.waiting import wait_for


def kill_crm(system: DryRun) -> None:
    os.kill(system.pid("crm"), signal.SIGKILL)
    wait_for(lambda: system.state("crm")["phase"] == "failed", what="the supervisor's note")


def test_fix_repairs_the_settings_and_keeps_a_copy(system: DryRun):
    edit_env(system, "DRY_RUN_MODE=true", "DRY_RUN_MODE: true")
    broken = system.env_file.read_text()
    done = system.run("diagnose", "--fix", "--yes", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["data"]["roots"]) == (0, [])
    (fix,) = document["data"]["fixes"]
    assert (fix["id"], fix["exit_code"]) == ("parse", 0)
    assert Path(fix["backup"]).read_text() == broken
    assert Path(fix["backup"]).stat().st_mode & 0o777 == 0o600
    assert fix["command"] in done.stderr
    assert system.env_file.read_text() == system.env_text
    Path(fix["backup"]).unlink()


def test_fix_never_ends_a_stranger(system: DryRun):
    assert system.run("stop", "crm").returncode == 0
    with foreign_server(system.ports["crm"]) as stranger:
        done = system.run("diagnose", "--fix", "--yes", "--json")
        assert (done.returncode, json.loads(done.stdout)["data"]["fixes"]) == (1, [])
        assert stranger.poll() is None


def test_fix_without_a_terminal_and_without_yes_does_nothing(system: DryRun):
    kill_crm(system)
    done = system.run("diagnose", "--fix")
    assert (done.returncode, "--fix --yes" in done.stderr) == (2, True)
    assert system.state("crm")["phase"] == "failed"


def test_a_bundle_gives_the_same_findings_when_the_system_is_gone(system: DryRun, tmp_path: Path):
    kill_crm(system)
    bundle = tmp_path / "b.tar.zst"
    live = json.loads(system.run("diagnose", "--json", "--bundle", str(bundle)).stdout)["data"]
    system.run("stop")
    saved = json.loads(system.run("diagnose", "--json", "--from", str(bundle), cwd=Path("/")).stdout)["data"]

    def without_durations(data: dict[str, object]) -> list[dict[str, object]]:
        return [{k: v for k, v in f.items() if k != "duration_ms"} for f in data["findings"]]  # type: ignore[attr-defined]  # JSON

    assert (without_durations(saved), saved["roots"]) == (without_durations(live), live["roots"])
    assert saved["roots"] == ["proc.missing"]


@pytest.mark.parametrize(
    "content",
    [b"", b"not a bundle", b"\x28\xb5\x2f\xfd broken"],
    ids=["the file is empty", "the file is text", "the file is truncated"],
)
def test_a_file_that_is_not_a_bundle_is_refused(system: DryRun, tmp_path: Path, content: bytes):
    path = tmp_path / "b.tar.zst"
    path.write_bytes(content)
    done = system.run("diagnose", "--from", str(path))
    assert (done.returncode, str(path) in done.stderr, "Traceback" in done.stderr) == (4, True, False)


def test_an_incident_names_its_severity_affected_services_and_cause(system: DryRun):
    kill_crm(system)
    text = system.run("diagnose", "--incident").stdout
    assert text.startswith("Subject: [INCIDENT] toombos - INVESTIGATING")
    assert "Severity: P" in text
    assert "Affected services: crm" in text
    assert "SIGKILL" in text


def test_an_issue_contains_version_system_cause_and_fields_to_fill_in(system: DryRun):
    kill_crm(system)
    text = system.run("diagnose", "--issue").stdout
    parts = ("Version: toombos ", "Deployment: development, dry-run", "OS: Linux", "crm is not running", "1. [fill in]")
    for part in parts:
        assert part in text


def test_profile_writes_the_stacks_and_a_flame_graph(system: DryRun):
    needs("py-spy", search=(str(Path(sys.executable).parent)[1:],))
    done = system.run("diagnose", "--profile", "generator", "--seconds", "1", "--json")
    document = json.loads(done.stdout)
    if done.returncode == 4 and "permission" in json.dumps(document["errors"]).lower():
        pytest.skip("py-spy may not look into processes here")
    assert done.returncode == 0, document["errors"]
    assert "MainThread" in document["data"]["stack"]
    assert Path(document["data"]["flame_graph"]).read_text().startswith("<?xml")


def test_profile_reports_a_service_that_is_not_running(system: DryRun):
    kill_crm(system)
    done = system.run("diagnose", "--profile", "crm", "--seconds", "1")
    assert (done.returncode, "crm is not running" in done.stderr) == (4, True)
    assert isinstance(system.diagnose(), Found)
