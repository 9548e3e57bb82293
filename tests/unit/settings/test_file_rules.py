"""Rules about the `.env` file itself: absent, unreadable, of another user, changed since a service started."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.settings.conftest import SAFE, Project
from toombos_cli import processes
from toombos_cli.base import locks
from toombos_cli.base.errors import ConfigurationError
from toombos_cli.base.results import Verdict
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.project.configuration import gather_facts
from toombos_cli.settings.check import check_configuration
from toombos_cli.settings.env_file import read_env_file


def test_a_missing_env_file_is_a_warning_with_a_fix(configured: Project):
    configured.env.unlink()

    (finding,) = configured.findings()["not_found"]

    assert finding.verdict is Verdict.WARN
    assert finding.fix.command == f"toombos --project {configured.path} config init"


def test_a_directory_that_is_not_a_project_fails_with_the_paths_searched(tmp_path):
    nowhere = tmp_path / "a" / "b"
    nowhere.mkdir(parents=True)

    facts = gather_facts(load_manifest(nowhere), environ={}, start=nowhere)
    finding = next(f for f in check_configuration(facts) if f.id == "not_found")

    assert finding.verdict is Verdict.FAIL
    assert [e.source for e in finding.evidence][:2] == [str(nowhere), str(nowhere.parent)]
    assert "--project" in finding.fix.advice


@pytest.mark.parametrize(
    ("mode", "verdict"),
    [(0o600, "pass"), (0o400, "pass"), (0o640, "warn"), (0o604, "warn"), (0o622, "fail"), (0, "fail")],
)
def test_the_permissions_of_the_file_have_a_verdict(configured: Project, mode, verdict):
    configured.env.chmod(mode)

    (finding,) = configured.findings()["mode"]

    assert finding.verdict == verdict
    assert str(finding.fix or "") == ("" if verdict == "pass" else f"chmod 600 {configured.env}")


def test_the_fixes_work_in_a_directory_whose_name_a_shell_would_split(tmp_path):
    path = tmp_path / "my shop's $HOME"
    path.mkdir()
    project = Project(path).write(SAFE + "LOG_LEVEL: INFO\nREQUEST_TIMEOUT = 5\nPLATFORM_BASE_ULR=http://x\n")
    project.env.chmod(0o644)

    fixes = [f.fix.command for f in project.wrong() if f.fix and f.fix.command and f.fix.argv[:1] != ("toombos",)]
    assert len(fixes) == 4
    for fix in fixes:
        subprocess.run(["bash", "-c", fix], cwd="/", check=True)

    assert not {f.id for f in project.wrong()} & {"mode", "parse", "spaces", "extra"}
    assert project.env.read_text().endswith("LOG_LEVEL=INFO\nREQUEST_TIMEOUT=5\nPLATFORM_BASE_URL=http://x\n")


def test_the_hint_for_an_env_file_that_is_a_directory_works_in_a_shell(tmp_path):
    path = tmp_path / "my shop's"
    (path / ".env").mkdir(parents=True)
    with pytest.raises(ConfigurationError) as error:
        read_env_file(path)
    subprocess.run(["bash", "-c", error.value.problems[0].hint], check=True)
    assert not read_env_file(path).exists


def test_an_env_file_that_the_user_cannot_read_fails_with_a_fix():
    with tempfile.TemporaryDirectory() as name:
        project = Project(Path(name)).write(SAFE)
        project.findings()  # import what the check needs before files become unreadable
        project.path.chmod(0o755)
        project.env.chmod(0)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            found = project.findings()
        finally:
            if root:
                os.seteuid(0)
    assert found["load"][0].reason == ".env cannot be loaded: not readable by this user"
    assert found["mode"][0].verdict is Verdict.FAIL
    assert found["mode"][0].fix.command == f"chmod 600 {project.env}"


def test_an_env_file_of_another_user_is_a_warning(configured: Project):
    facts = replace(configured.facts(), user=12345)
    found = replace(facts.file, status=replace(facts.status, owner=54321))
    facts = replace(facts, file=found, files=(found,))

    finding = next(f for f in check_configuration(facts) if f.id == "owner")

    assert finding.reason == ".env belongs to user 54321, but toombos runs as user 12345"


def test_an_env_file_that_is_a_directory_fails(configured: Project):
    configured.env.unlink()
    configured.env.mkdir()

    (finding,) = (f for f in configured.findings()["load"] if f.verdict is Verdict.FAIL)

    assert "is a directory" in finding.reason
    assert (finding.fix.argv, finding.fix.safe) == (("rmdir", str(configured.env)), False)


def test_an_env_file_that_is_not_utf8_fails_with_its_line(configured: Project):
    configured.write(b"DRY_RUN_MODE=true\nENVIRONMENT=caf\xe9\n")

    (finding,) = configured.findings()["load"]

    assert (finding.verdict, finding.evidence[0].line) == (Verdict.FAIL, 2)


def test_an_unreadable_env_file_explains_the_missing_settings_of_live_mode(configured: Project):
    configured.write("DRY_RUN_MODE=true\n".encode("utf-16"))

    roots = [f.id for f in configured.wrong() if not f.explained_by]

    assert roots == ["load"]


@pytest.fixture
def running(configured: Project) -> Iterator[Project]:
    """A system whose only service is this process, which holds its lock, with the current `.env`."""
    import msgspec

    from toombos_cli.project.state import Phase, RunDirectory, ServiceState, SystemState
    from toombos_cli.settings.env_files import read_env_files
    from toombos_cli.supervisor.plan import stamp

    manifest = load_manifest(configured.path)
    me = processes.identify(os.getpid())
    assert me is not None
    state = SystemState(
        boot_id=me.boot_id,
        pid_namespace=me.pid_namespace,
        supervisor_pid=me.pid,
        supervisor_start_ticks=me.start_ticks,
        dry_run=True,
        mode="dry_run",
        started_at=0.0,
        env_file=stamp(read_env_files(manifest)),
        services={
            "crm": ServiceState(
                service=manifest.services["crm"],
                desired=True,
                phase=Phase.READY,
                pid=me.pid,
                start_ticks=me.start_ticks,
            )
        },
    )
    run = RunDirectory(configured.path)
    run.create()
    run.state.write_bytes(msgspec.json.encode(state))
    lock = locks.take(run.service_lock("crm"))
    assert lock is not None
    yield configured
    os.close(lock)


class TestStale:
    def test_a_service_that_runs_with_the_current_env_file_is_up_to_date(self, running: Project):
        assert running.findings()["stale"][0].verdict is Verdict.PASS

    def test_a_service_that_was_started_with_another_env_file_needs_a_restart(self, running: Project):
        running.write(SAFE + "LOG_LEVEL=DEBUG\n")

        (finding,) = running.findings()["stale"]

        assert (finding.verdict, finding.reason) == (Verdict.WARN, ".env has changed since crm started")
        assert finding.fix.command == f"toombos --project {running.path} restart"

    def test_a_touched_but_unchanged_env_file_is_not_stale(self, running: Project):
        os.utime(running.env, (1, 1))

        assert running.findings()["stale"][0].verdict is Verdict.PASS

    def test_nothing_is_stale_if_no_service_runs(self, configured: Project):
        assert configured.findings()["stale"][0].verdict is Verdict.SKIP
