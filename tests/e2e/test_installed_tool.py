"""The wheel as a tool of pipx and of uv: its commands, completion, man pages and pages, and what it weighs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.runner import clean_environment

ROOT = Path(__file__).parents[2]
MOST_MB = 120
"""The size of the environment without extras; docs/stability.md has what extras add."""
INSTALLERS = {
    "pipx": ("pipx", "install", "--quiet"),
    "uv": ("uv", "tool", "install", "--quiet"),
}
pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: a build leaves files beside the sources."""
    sources, built = tmp_path_factory.mktemp("sources") / "toombos", tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, sources, ignore=shutil.ignore_patterns(".git", ".venv", "build", "*.egg-info", "__pycache__"))
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", built, sources], check=True)
    [found] = built.glob("*.whl")
    return found


@pytest.fixture(scope="module", params=INSTALLERS)
def home(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a user who has installed the wheel as a tool."""
    tools, home = tmp_path_factory.mktemp("tools"), tmp_path_factory.mktemp("home")
    subprocess.run([sys.executable, "-m", "venv", tools], check=True)
    subprocess.run([tools / "bin" / "pip", "install", "-q", request.param], check=True)
    argv = INSTALLERS[request.param]
    path = f"{tools / 'bin'}:{os.environ['PATH']}"
    environment = clean_environment() | {"HOME": str(home), "PATH": path, "XDG_DATA_HOME": f"{home}/.local/share"}
    subprocess.run([tools / "bin" / argv[0], *argv[1:], wheel], check=True, env=environment)
    yield home
    shutil.rmtree(home)


def run(home: Path, *args: str, **env: str) -> str:
    """Return what the installed `toombos ARGS` prints to a user with an empty environment."""
    environment = {"HOME": str(home), "PATH": f"{home}/.local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"} | env
    argv = [home / ".local" / "bin" / "toombos", *args]
    return subprocess.run(argv, cwd=home, env=environment, check=True, capture_output=True, text=True).stdout


def environment_of(home: Path) -> Path:
    return (home / ".local" / "bin" / "toombos").resolve().parents[1]


def test_the_commands_and_pages_are_there(home: Path):
    assert run(home, "--version") == "toombos 1.0.0\n"
    assert run(home, "help", "manifest.md") == (ROOT / "docs" / "manifest.md").read_text()
    assert run(home, "config", "init", "--manifest").startswith("wrote ")
    assert "Would start 1 service" in run(home, "start", "--preview")


def test_completion_is_installed_and_offers_commands(home: Path):
    run(home, "--install-completion", "bash", SHELL="/bin/bash")
    assert "toombos" in (home / ".bashrc").read_text()
    words = {"_TOOMBOS_COMPLETE": "complete_bash", "COMP_WORDS": "toombos st", "COMP_CWORD": "1"}
    assert run(home, **words).split() == ["start", "stop", "status"]


def test_the_man_pages_are_installed(home: Path):
    pages = {page.name for page in (ROOT / "docs" / "man").glob("*.1")}
    assert pages == {page.name for page in (environment_of(home) / "share" / "man" / "man1").glob("*.1")}
    linked = home / ".local" / "share" / "man" / "man1"
    assert not linked.exists() or pages == {page.name for page in linked.iterdir()}  # uv links none


def test_the_environment_is_not_heavier_than_documented(home: Path):
    files = (file for file in environment_of(home).rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    assert sum(file.stat().st_size for file in files) / 1e6 < MOST_MB
