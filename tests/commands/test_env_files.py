"""Several env files on the command line: what a service really gets, and that no command does without one of them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.runner import data_of, run_toombos
from toombos_cli.settings.encryption import encrypt
from toombos_cli.settings.env_file import parse_env_text

KEY = "k" * 32
MANIFEST = """
env_files = ["common.env", "prod.env"]

[services.app]
command = ["{python}", "-c", "import os, time; print({k: v for k, v in os.environ.items() if k.startswith('APP_')}, flush=True); time.sleep(600)"]
scheme = "none"
env_files = ["app.env", "local.env?"]

[services.other]
command = ["sleep", "600"]
scheme = "none"

[environment.APP_LEVEL]
description = "how much"

[environment.APP_SECRET]
description = "nobody knows it"
secret = true

[environment.APP_KEY]
description = "encrypts"
secret = true
role = "encryption_key"
"""  # noqa: E501  (a program on one line)


def write(project: Path) -> Path:
    """Write the project: each file sets what the next one overrides."""
    (project / "toombos.toml").write_text(MANIFEST.replace("{k: v", "{{k: v").replace("_')}", "_')}}"))
    files = {
        ".env": f"APP_KEY={KEY}\nAPP_LEVEL=1\nAPP_DB=here\n",
        "common.env": "APP_LEVEL=2\n",
        "prod.env": f"\nAPP_LEVEL=3\nAPP_SECRET={encrypt('hush-hush-9031', KEY)}\n",
        "app.env": "APP_LEVEL=4\nAPP_URL=db://${APP_DB}/x\nAPP_SECRET=own-hush-7714\n",
    }
    for name, text in files.items():
        (project / name).write_text(text)
        (project / name).chmod(0o600)
    return project


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running system with env files."""
    project = write(tmp_path_factory.mktemp("env-files"))
    started = run_toombos("start", cwd=project)
    assert started.returncode == 0, started.stderr
    yield project
    run_toombos("stop", cwd=project)


def test_a_service_gets_the_values_of_the_last_files(system):
    log = (system / "logs" / "app.log").read_text()

    assert "'APP_LEVEL': '4'" in log
    assert "'APP_URL': 'db://here/x'" in log


SHOWN = {
    "for all": ("config show", "APP_LEVEL", "3", "prod.env", 2, "common.env", 1),
    "for one with a file of its own": ("config show app", "APP_LEVEL", "4", "app.env", 1, "prod.env", 2),
    "for one without": ("config show other", "APP_LEVEL", "3", "prod.env", 2, "common.env", 1),
}


@pytest.mark.parametrize("row", SHOWN.values(), ids=SHOWN.keys())
def test_a_value_is_shown_with_its_file_and_the_one_that_it_overrides(system, row):
    line, name, value, source, number, over, over_line = row
    done = run_toombos(*line.split(), "--json", cwd=system)

    shown = next(v for v in data_of(done)["values"] if v["name"] == name and not v["service"])

    found = (shown["value"], shown["source"], shown["line"], shown["overrides_file"], shown["overrides_line"])
    assert found == (value, source, number, over, over_line)


def test_what_one_service_gets_from_its_own_file_is_in_the_list_for_all(system):
    done = run_toombos("config", "show", cwd=system)

    assert "app.env:1 (over prod.env:2)" in " ".join(done.stdout.split())


@pytest.mark.parametrize("line", ["config show", "config show app", "config check --verbose", "diagnose --verbose"])
def test_no_secret_of_any_file_is_printed(system, line):
    done = run_toombos(*line.split(), cwd=system)

    assert "hush" not in done.stdout + done.stderr


def test_a_secret_of_a_services_own_file_is_masked_in_its_log(system):
    assert "own-hush-7714" in (system / "logs" / "app.log").read_text()
    assert "own-hush" not in run_toombos("logs", "app", cwd=system).stdout


def test_a_change_of_a_file_is_noticed_and_applied_by_a_restart(system):
    (system / "app.env").write_text("APP_LEVEL=5\n")
    check = run_toombos("config", "check", cwd=system)
    assert "one of .env, common.env, prod.env, app.env, local.env has changed" in " ".join(check.stdout.split())

    assert run_toombos("restart", cwd=system).returncode == 0

    assert "has changed" not in run_toombos("config", "check", cwd=system).stdout
    assert "'APP_LEVEL': '5'" in (system / "logs" / "app.log").read_text()


# the command, and whether it must do its work although an env file is missing
WITHOUT_A_FILE = {
    "start": 3,
    "restart": 3,
    "config show": 3,
    "config check": 1,
    "status": 0,
    "health": 0,
    "logs": 0,
}


@pytest.mark.parametrize(("line", "exit_code"), WITHOUT_A_FILE.items(), ids=WITHOUT_A_FILE.keys())
def test_a_missing_file_stops_what_needs_it_and_nothing_else(system, line, exit_code):
    (system / "prod.env").rename(system / "kept")
    try:
        done = run_toombos(*line.split(), cwd=system)
    finally:
        (system / "kept").rename(system / "prod.env")

    assert done.returncode == exit_code, done.stdout + done.stderr
    if exit_code:
        assert f"{system / 'prod.env'}" in done.stderr + done.stdout
        assert "does not exist, but env_files names it" in " ".join((done.stderr + done.stdout).split())
    rows = json.loads(run_toombos("status", "--json", cwd=system).stdout)["data"]["services"]
    assert {row["phase"] for row in rows} == {"ready"}


def test_a_rotated_key_opens_the_secrets_of_every_file(tmp_path):
    write(tmp_path)
    assert run_toombos("config", "encrypt", cwd=tmp_path).returncode == 0
    assert "APP_SECRET=enc:" in (tmp_path / "app.env").read_text()

    done = run_toombos("config", "rotate-key", "--json", cwd=tmp_path)

    data = data_of(done)
    assert (data["path"], data["further"]) == (
        str(tmp_path / "prod.env"),
        [str(tmp_path / "app.env"), str(tmp_path / ".env")],
    )
    assert KEY not in (tmp_path / ".env").read_text()
    assert all((tmp_path / f"{name}.bak").exists() for name in (".env", "prod.env", "app.env"))
    assert run_toombos("config", "show", "app", cwd=tmp_path).returncode == 0
    check = run_toombos("config", "check", "--json", cwd=tmp_path)
    assert not [f for f in data_of(check)["findings"] if f["id"] == "load" and f["verdict"] == "fail"]
    assert parse_env_text((tmp_path / "prod.env").read_text(), tmp_path).values["APP_SECRET"].startswith("enc:")


def test_a_restore_brings_back_what_a_backup_has_saved(tmp_path):
    write(tmp_path)
    assert run_toombos("start", cwd=tmp_path).returncode == 0
    try:
        assert run_toombos("backup", "create", cwd=tmp_path).returncode == 0
        (tmp_path / "prod.env").unlink()
        (tmp_path / "app.env").write_text("APP_LEVEL=9\n")

        restored = run_toombos("restore", "--latest-good", "--yes", cwd=tmp_path)

        assert restored.returncode == 0, restored.stderr
        assert "APP_LEVEL=3" in (tmp_path / "prod.env").read_text()
        assert "APP_LEVEL=4" in (tmp_path / "app.env").read_text()
    finally:
        run_toombos("stop", cwd=tmp_path)
