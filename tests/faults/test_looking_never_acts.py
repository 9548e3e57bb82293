"""Commands that look run nothing that a project names, and create nothing outside `run/`.

The project is full of bait: every program, package, hook and file that some command might run writes a marker.
"""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.runner import run_toombos

LOOKING = [
    "status",
    "status --json",
    "health",
    "health --verbose",
    "logs",
    "logs --since 1h",
    "config check",
    "config show",
    "config show module",
    "config init --example",
    "diagnose",
    "diagnose --json",
    "diagnose --issue",
    "diagnose --incident",
    "diagnose --only python",
    "backup list",
    "backup status",
    "backup verify",
    "schedule show",
    "schedule install --print --method cron",
    "schedule install --print --method systemd",
    "alert status",
    "monitoring check",
    "monitoring status",
    "export systemd --check",
    "export compose --check",
    "export kubernetes --diff nowhere",
    "start --plan",
    "start --preview module",
]

_SCRIPT = '#!/bin/sh\necho "$0 $*" >> "{marker}"\n'
_PYTHON = "open({marker!r}, 'a').write(__name__ + '\\n')\n"


def bait(project: Path, marker: Path) -> None:
    """Fill the project with programs, packages, hooks and settings that write to the marker when they are run."""
    script, code = _SCRIPT.format(marker=marker), _PYTHON.format(marker=str(marker))
    for name in ("evil.sh", "python3", "docker", "git", "crontab", "systemctl", "promtool", "py-spy", "nft", "nginx"):
        (project / name).write_text(script)
        (project / name).chmod(0o755)
    (project / "evilpkg").mkdir()
    (project / "evilpkg" / "__init__.py").write_text(code)
    (project / "evilpkg" / "mod.py").write_text(code)
    for name in ("sitecustomize.py", "usercustomize.py", "typing.py", "conftest.py"):
        (project / name).write_text(code)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    for site in (project / ".venv").glob("lib/python*/site-packages"):
        (site / "evil.pth").write_text(f"import pathlib; pathlib.Path({str(marker)!r}).touch()\n")
        (site / "sitecustomize.py").write_text(code)
        (site / "venvpkg").mkdir()
        (site / "venvpkg" / "__init__.py").write_text(code)
    subprocess.run(["git", "init", "-q", project], check=True)
    for key in ("core.fsmonitor", "core.pager", "core.hooksPath", "diff.external", "core.sshCommand"):
        subprocess.run(["git", "-C", project, "config", key, str(project / "evil.sh")], check=True)
    for hook in ("post-index-change", "pre-commit", "post-checkout"):
        path = project / ".git" / "hooks" / hook
        path.parent.mkdir(exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)
    (project / ".env").write_text(
        f"PYTHONSTARTUP={project}/sitecustomize.py\nPYTHONPATH={project}\nBASH_ENV={project}/evil.sh\n"
    )
    (project / ".env").chmod(0o600)
    (project / "toombos.toml").write_text(
        f"""
[services.program]
command = ["./evil.sh", "-m", "a"]
scheme = "none"
[services.module]
command = ["python3", "-m", "evilpkg.mod"]
port = {free_port()}
[services.path]
command = ["./python3", "-m", "evilpkg"]
scheme = "none"
env = {{ PATH = "{project}", PYTHONPATH = "{project}" }}
[services.environment]
command = [".venv/bin/python", "-m", "venvpkg.missing"]
scheme = "none"
[services.absent]
command = ["{{python}}", "-m", "evilpkg.absent"]
scheme = "none"
[services.ours]
command = ["{{python}}", "-m", "evilpkg.mod"]
port = {free_port()}
[schedule.job]
command = ["health", "--on-fail", "./evil.sh"]
every_minutes = 5
"""
    )


def listing(project: Path) -> dict[str, Any]:
    """Return every file outside `run/` with its kind, mode, size and time of change."""
    found = {}
    for path in sorted(project.rglob("*")):
        if path.relative_to(project).parts[0] != "run":
            state = path.lstat()
            changed = 0 if stat.S_ISDIR(state.st_mode) else state.st_mtime_ns
            found[str(path.relative_to(project))] = (stat.filemode(state.st_mode), state.st_size, changed)
    return found


@pytest.mark.parametrize("command", LOOKING)
def test_looking_at_a_project_runs_and_creates_nothing(command: str, tmp_path: Path) -> None:
    project, marker = tmp_path / "project", tmp_path / "marker"
    project.mkdir()
    bait(project, marker)
    before = listing(project)

    done = run_toombos(
        *command.split(), cwd=project, env={"PATH": f".:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}
    )

    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode in (0, 1, 3, 4), done.stderr
    assert not marker.exists(), marker.read_text()
    assert listing(project) == before
    assert not (project / "run").exists()


def test_diagnose_finds_the_modules_of_an_interpreter_without_running_it(tmp_path: Path) -> None:
    project, marker = tmp_path / "project", tmp_path / "marker"
    project.mkdir()
    bait(project, marker)

    done = run_toombos("diagnose", "--only", "py.import", "--only", "py.path", "--json", cwd=project)

    findings = json.loads(done.stdout)["data"]["findings"]
    verdicts = {f["reason"].partition(":")[0]: f["verdict"] for f in findings if f["id"] == "py.import"}
    assert verdicts == {"path": "skip", "environment": "skip", "absent": "fail"}  # a script, and a .pth file with code
    assert not marker.exists()
