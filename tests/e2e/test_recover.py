"""`toombos recover` either recovers the system or stops at the right step with the right cause."""

import json
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.waiting import wait_for
from tests.unit.alerts.conftest import log_lines, wait_until_quiet

SERVICES = ("crm", "platform", "generator")
STEPS = ["stop", "resources", "archive", "start", "health", "smoke"]


@pytest.fixture
def running(project, toombos):
    """The running dry-run system, with monitoring on free ports."""
    ports = "".join(
        f"[services.{name}]\nport = {free_port()}\n"
        for name in ("alerts", "alertmanager", "prometheus", "host", "grafana")
    )
    with (project / "toombos.toml").open("a") as file:
        file.write(f"{ports}[monitoring]\nbackend = 'native'\nscrape_interval_s = 1\nrate_window_s = 5\n")
    (project / ".env").write_text("LOG_LEVEL=INFO\n")
    (project / ".env").chmod(0o600)
    started = toombos("start", "--dry-run", timeout_s=120)
    assert started.returncode == 0, started.stderr
    return project


def kill_all(toombos) -> None:
    for row in json.loads(toombos("status", "--json").stdout)["data"]["services"]:
        if row["name"] in SERVICES and row["pid"]:
            os.kill(row["pid"], signal.SIGKILL)


def recover(toombos, *options: str) -> tuple[int, dict[str, dict]]:
    done = toombos("recover", "--json", *options, timeout_s=280)
    document = json.loads(done.stdout)
    return done.returncode, {step["name"]: step for step in document["data"]["steps"]}


def test_a_system_whose_services_were_all_killed_is_recovered_with_its_dashboards(running, toombos):
    for program in ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter"):
        needs(program)
    kill_all(toombos)
    code, steps = recover(toombos)
    assert code == 0, steps
    assert list(steps) == [*STEPS, "monitoring", "dashboards"]
    assert {step["verdict"] for name, step in steps.items() if name in STEPS} == {"pass"}
    assert steps["dashboards"]["verdict"] in ("pass", "warn"), steps["dashboards"]
    assert toombos("health", *SERVICES).returncode == 0


def test_a_recovered_system_uses_the_current_env_file(running, toombos):
    (running / ".env").write_text("LOG_LEVEL=WARNING\nENVIRONMENT=recovered\n")
    kill_all(toombos)
    done = toombos("recover", "--no-monitoring", timeout_s=280)
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert [line.split()[1] for line in lines[:-1]] == STEPS  # one line each
    assert lines[-1] == "recovered"
    import httpx

    from toombos_cli.manifest.reading.loader import load_manifest

    url = load_manifest(running).services["generator"].url
    assert httpx.get(f"{url}/health", trust_env=False).json()["environment"] == "recovered"


def test_settings_that_the_services_refuse_stop_the_recovery_at_the_start_step(running, toombos):
    (running / ".env").write_text("LOG_LEVEL=LOUD\n")
    kill_all(toombos)
    code, steps = recover(toombos)
    assert code in (1, 4)
    assert list(steps)[-1] == "start"
    assert steps["archive"]["verdict"] == "pass"
    assert "configuration" in steps["start"]["cause"]
    assert steps["start"]["fix"] == "toombos config check"


def overwrite_pages(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    with database.open("r+b") as file:
        for page in range(1, pages):
            file.seek(page * 4096 + 8)
            file.write(b"\xff" * 2000)


def overwrite_all(database: Path) -> None:
    database.write_bytes(b"\xff" * 100_000)  # not even the database header is left


@pytest.mark.parametrize("damage", [overwrite_pages, overwrite_all], ids=["damaged pages", "no database header"])
def test_a_damaged_database_stops_the_recovery_after_the_archive_and_the_printed_fix_repairs_it(
    running, toombos, damage
):
    assert toombos("backup").returncode == 0
    (database,) = (running / "data").glob("*.db")
    toombos("stop")
    damage(database)
    code, steps = recover(toombos)
    assert code == 1
    assert list(steps)[-1] == "archive"
    assert database.name in steps["archive"]["cause"]
    assert steps["archive"]["fix"] == "toombos restore --latest-good"
    assert steps["archive"]["detail"].endswith(".tar.zst")  # the damaged state was kept
    (raised,) = wait_for(lambda: log_lines(running, "corruption:"), what="the alert")
    assert raised["severity"] == "P0"
    wait_until_quiet(running)
    assert toombos("restore", "--latest-good", "--yes").returncode == 0
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_mocks_that_simulate_errors_stop_the_recovery_at_the_smoke_test_with_the_fix(running, toombos):
    done = toombos("recover", env={"MOCK_ERROR_RATE": "1"}, timeout_s=280)
    assert done.returncode == 1
    assert "MOCK_ERROR_RATE" in done.stderr  # the fix
    assert "stopped at smoke; not done: monitoring, dashboards" in done.stdout


def test_recover_reports_the_line_of_an_error_in_the_manifest(project, toombos):
    (project / "toombos.toml").write_text('extends = "toombos"\n[services.crm]\nprot = 1\n')
    done = toombos("recover")
    assert done.returncode != 0
    assert "toombos.toml:3" in done.stdout + done.stderr
