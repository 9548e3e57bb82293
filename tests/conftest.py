"""Fixtures for every test: a project, and `toombos` run in it, also as another user."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.runner import Toombos, run_toombos

for _name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "FORCE_COLOR", "CLICOLOR_FORCE"):
    os.environ.pop(_name, None)  # the tests of what is printed may themselves run in CI


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty project directory whose toombos.toml gives the dry-run system free ports."""
    services = "".join(f"[services.{name}]\nport = {free_port()}\n" for name in ("crm", "platform", "generator"))
    (tmp_path / "toombos.toml").write_text(f'extends = "toombos"\n{services}')
    return tmp_path


@pytest.fixture
def toombos(project: Path) -> Iterator[Toombos]:
    """Run `toombos ARGS` in the project as a separate process, and stop at the end whatever it started."""

    def run(*args: object, cwd: Path | None = None, **given: Any) -> subprocess.CompletedProcess[str]:
        return run_toombos(*args, cwd=cwd or project, **given)

    yield run
    if (project / "run").is_dir():  # without this directory nothing was ever started
        run("stop")


@pytest.fixture
def nobody() -> list[str]:
    """The start of a command that runs as another user; skips if that user cannot read this installation."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    way = [needs("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups"]
    probe = [*way, sys.executable, "-P", "-c", "import toombos_cli, typer"]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        pytest.skip("this installation can be read by its owner alone")
    return way


@pytest.fixture
def as_another_user(project: Path, nobody: list[str]) -> Toombos:
    """Run `toombos ARGS` in the project as a user who may read it, but not what root has created in it."""
    base = Path(tempfile.gettempdir())
    for directory in (project, *(parent for parent in project.parents if parent.is_relative_to(base))):
        directory.chmod(directory.stat().st_mode | 0o055)

    return partial(run_toombos, cwd=project, through=nobody)
