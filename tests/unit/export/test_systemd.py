"""The units that are exported for systemd."""

import shutil

import pytest

from toombos_cli.base.results import Verdict
from toombos_cli.export.model import ExportEngine
from toombos_cli.export.operations import run_export
from toombos_cli.manifest.reading.loader import load_manifest


@pytest.fixture(scope="module")
def units(exported):
    output = exported[ExportEngine.SYSTEMD].output
    return {path.name: path.read_text() for path in output.rglob("*") if path.is_file()}


LINES = {
    "a dependency that is ready before": ("shop-web.service", "Requires=shop-cache.service"),
    "and waited for": ("shop-web.service", "After=shop-cache.service"),
    "a task that has completed before": ("shop-web.service", "After=shop-migrate.service"),
    "a restart with a dependency": ("shop-web.service", "PartOf=shop-db.service"),
    "a task runs to its end": ("shop-migrate.service", "Type=oneshot"),
    "a task that has succeeded counts as active": ("shop-migrate.service", "RemainAfterExit=yes"),
    "the limit of a task": ("shop-migrate.service", "TimeoutStartSec=300"),
    "the stop signal": ("shop-db.service", "KillSignal=SIGINT"),
    "the leader is asked to end first": ("shop-db.service", "KillMode=mixed"),
    "the time to stop": ("shop-worker.service", "TimeoutStopSec=30"),
    "the restart policy": ("shop-web.service", "Restart=on-failure"),
    "the crash loop": ("shop-web.service", "StartLimitBurst=3"),
    "the limit of memory": ("shop-web.service", "MemoryMax=512M"),
    "a default with quotes": ("shop-web.service", r'Environment="GREETING=say \"hi\" \\ all"'),
    "hardening": ("shop-web.service", "NoNewPrivileges=yes"),
    "a dollar in a file of variables": ("shop-web.env", r'PRICE="5\$ or 100%"'),
    "the mode": ("test.env", 'SHOP_MODE="test"'),
    "the target starts a service": ("shop.target", "Wants=shop-web.service"),
    "and stops it": ("shop-web.service", "PartOf=shop.target"),
}


@pytest.mark.parametrize(("unit", "line"), LINES.values(), ids=LINES.keys())
def test_the_unit_says(units, unit, line):
    assert line in units[unit].splitlines()


def test_the_variables_are_read_from_the_weakest_to_the_strongest(units, shop):
    lines = [line for line in units["shop-web.service"].splitlines() if line.startswith("Environment")]
    names = [line.rpartition("/")[2] for line in lines if line.startswith("EnvironmentFile")]
    assert names == [".env", "shop-web.env", "mode.env"]
    assert lines[0].startswith("Environment=")


def test_the_unit_is_active_once_the_service_is_ready(units):
    (line,) = (line for line in units["shop-web.service"].splitlines() if line.startswith("ExecStartPost="))
    assert line.endswith('"health" "web" "--wait" "60"')


def test_an_optional_service_is_not_part_of_the_target(units):
    assert "shop-front.service" not in units["shop.target"]


def test_a_secret_in_a_command_is_a_variable_of_the_unit(units):
    assert '"--requirepass" "${CACHE_SECRET}"' in units["shop-cache.service"]


def test_a_job_gets_a_timer(units):
    (timer,) = (text for name, text in units.items() if name.endswith("nightly.timer"))
    assert "OnCalendar=*-*-* 02:00:00" in timer


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("name", ["the packaged system", "the shop"])
def test_systemd_accepts_the_units(shop, tmp_path, name):
    project = shop if name == "the shop" else tmp_path
    report = run_export(load_manifest(project), ExportEngine.SYSTEMD, output=None, check=True)
    missing = [check.detail for check in report.checks if check.verdict is not Verdict.PASS]
    assert missing == [] or all("is not executable" in detail for detail in missing)
