"""Systems with odd names, commands, numbers and paths: the files of every engine stay valid."""

import os
import shutil
from pathlib import Path

import pytest
import yaml

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.base.results import Verdict
from toombos_cli.export.model import ExportEngine
from toombos_cli.export.operations import run_export
from toombos_cli.manifest.reading.loader import load_manifest

MANIFEST = """
name = "8 Ünïcode & shop: 100%"
[services."2.Odd_Name"]
title = "It's 100% \\"odd\\": #1"
command = ["{python}", "-c", '''
import time
print("a\\tb", '$HOME', "%h", "\\\\n")
time.sleep(60)
''', "$(date)", "${{HOME}}", ""]
port = 8300
health = "/health?a=b&c=%20d"
grace_period_s = 1234567
startup_timeout_s = 0.5
probe_interval_s = 0.25
default_env = { MULTI = "one\\ntwo", QUOTE = "'\\"", BRACE = "{{x}}", EMPTY = "" }
env = { DOLLAR = "$HOME ${{HOME}} $$", BACK = "\\\\" }
[services.sock]
command = ["{python}", "sock.py", "{unix}"]
unix = "run/odd.sock"
[services.elsewhere]
command = ["some-unknown-program"]
scheme = "none"
cwd = "/srv"
user = "1000"
stdin = "open"
[modes."../up"]
env = { M = "1" }
"""


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    project = tmp_path / "with blank % and $dollar"
    project.mkdir()
    (project / "toombos.toml").write_text(MANIFEST)
    (project / "sock.py").touch()
    return project


@pytest.mark.parametrize("engine", ExportEngine)
def test_nothing_is_written_outside_the_directory(odd, engine):
    run_export(load_manifest(odd), engine, output=odd / "out" / "in", check=False)
    assert [path.name for path in (odd / "out").iterdir()] == ["in"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_it(odd):
    report = run_export(load_manifest(odd), ExportEngine.SYSTEMD, output=None, check=True)
    (check,) = report.checks
    said = check.detail.replace("Command some-unknown-program is not executable: No such file or directory", "")
    assert said in ("", f"{said.split(':')[0]}: "), check


def test_kubernetes_accepts_it(odd):
    report = run_export(load_manifest(odd), ExportEngine.KUBERNETES, output=None, check=True)
    assert [(check.verdict, check.detail) for check in report.checks] == [(Verdict.PASS, "")]


def test_compose_gets_each_word_as_it_is(odd):
    run_export(load_manifest(odd), ExportEngine.COMPOSE, output=odd / "out", check=False)
    service = yaml.safe_load((odd / "out" / "compose.yaml").read_text())["services"]["s-2-odd-name"]
    assert [word.replace("$$", "$") for word in service["command"]][3:] == ["$(date)", "${HOME}", ""]
    assert "\n" in service["command"][2]
    assert service["stop_grace_period"] == "1234567s"
    assert service["environment"]["DOLLAR"] == "$$HOME $${HOME} $$$$"


def test_the_signal_reaches_what_runs_behind_a_shell(odd):
    text = (odd / "toombos.toml").read_text()
    wrapped = '[services.wrapped]\ncommand = ["sh", "-c", "sleep 9; true"]\nscheme = "none"\n'
    (odd / "toombos.toml").write_text(text + wrapped)
    report = run_export(load_manifest(odd), ExportEngine.SYSTEMD, output=odd / "out", check=False)
    (unit,) = (row.path for row in report.files if row.path.endswith("wrapped.service"))
    assert "KillMode=control-group" in (odd / "out" / unit).read_text()


@pytest.mark.parametrize("engine", [ExportEngine.COMPOSE, ExportEngine.KUBERNETES])
def test_what_a_container_cannot_have_is_listed(odd, engine):
    report = run_export(load_manifest(odd), engine, output=odd / "out", check=False)
    assert {"services.sock.unix", "services.elsewhere.cwd", "services.elsewhere.command"} <= {
        item.what for item in report.left_out
    }


@pytest.mark.parametrize("name", [b"line\nend", b"not-utf8-\xff"], ids=["a line end", "not UTF-8"])
@pytest.mark.parametrize("engine", ExportEngine)
def test_a_path_that_no_file_can_hold_is_refused(tmp_path, engine, name):
    project = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    project.mkdir()
    with pytest.raises(ConfigurationError):
        run_export(load_manifest(project), engine, output=None, check=False)
