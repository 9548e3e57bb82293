"""What people read: rounded numbers, the time that a check really took, and no word about a file that is not there."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.runner import run_toombos
from tests.support.servers import hang, serve

OWN = """
[services.slow]
command = ["sleep", "60"]
port = {port}
probe_timeout_s = 0.31234
[services.other]
command = ["sleep", "60"]
scheme = "none"
optional = true
"""


@pytest.fixture
def silent(tmp_path: Path):
    """A project with a service that accepts requests and never responds."""
    with serve(hang) as port:
        (tmp_path / "toombos.toml").write_text(OWN.format(port=port))
        yield tmp_path


def times_in(junit: str) -> dict[str, float]:
    """Return the time of each case."""
    cases = ElementTree.fromstring(junit).iter("testcase")  # noqa: S314  (our own document)
    return {case.get("name", ""): float(case.get("time", "0")) for case in cases}


def test_a_health_step_that_timed_out_is_shown_with_the_time_that_it_took(silent: Path):
    done = run_toombos("smoke", "--junit", "j.xml", cwd=silent)
    assert done.returncode == 1
    took = re.search(r"FAIL\s+health-slow\s+slow\s+(\d+) ms", done.stdout)
    assert took, done.stdout
    assert int(took[1]) >= 300
    assert times_in((silent / "j.xml").read_text())["health-slow"] >= 0.3
    assert "no response within 0.312 s" in done.stdout
    assert re.search(r"smoke test FAILED: health-slow \(1 of 1 step, 1 skipped\)$", done.stdout.strip())


def test_a_health_check_that_timed_out_has_its_time_in_junit_and_none_in_performance_data(silent: Path):
    shown = run_toombos("health", "--format", "junit", cwd=silent).stdout
    assert times_in(shown)["slow"] >= 0.3
    assert "=" not in run_toombos("health", "--format", "nagios", cwd=silent).stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("env", "judged"),
    [
        pytest.param(None, "{project}, without a .env: ", id="no .env: the project is named"),
        pytest.param("A=1\n", "{project}/.env: ", id="a .env: it is named"),
    ],
)
def test_config_check_says_what_it_judged(env: str | None, judged: str, tmp_path: Path):
    (tmp_path / "toombos.toml").write_text('[services.a]\ncommand = ["sleep", "60"]\nscheme = "none"\n')
    if env is not None:
        (tmp_path / ".env").write_text(env)
        (tmp_path / ".env").chmod(0o600)
    done = run_toombos("config", "check", cwd=tmp_path)
    assert done.stdout.splitlines()[-1].startswith(judged.format(project=tmp_path))
    assert "env_file_exists" not in run_toombos("config", "check", "--json", cwd=tmp_path).stdout


def test_the_age_of_a_backup_has_a_unit_that_says_something(tmp_path: Path):
    (tmp_path / "toombos.toml").write_text('[services.a]\ncommand = ["sleep", "60"]\nscheme = "none"\n')
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "f").write_text("x")
    assert run_toombos("backup", cwd=tmp_path).returncode == 0
    assert re.search(r"is \d+ s old \(at most 26 h\)", run_toombos("backup", "status", cwd=tmp_path).stdout)
