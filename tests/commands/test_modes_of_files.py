"""What toombos writes is private whatever the umask is, except the files that belong into a repository."""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.runner import run_toombos

PUBLIC = {"project/new/toombos.toml"}
"""Written to be committed: the umask decides."""

# A line of a command, after which everything that it created is judged. `OUT` is a directory that does not exist yet.
LINES = [
    "start",
    "health --log",
    "smoke --junit OUT/smoke.xml",
    "load -n 2 -c 1 --html OUT.html --csv OUT.csv --junit OUT.xml --save-baseline OUT.json",
    "diagnose --html OUT/page.html --bundle OUT/bundle.tar.zst",
    "diagnose --html OLD.html",
    "backup",
    "backup --to file://OUT/remote",
    "backup verify",
    "backup drill",
    "schedule run check",
    "alert send --severity P2 title",
    "logs",
    "restart",
    "stop",
    "config init --manifest --project NEW",
    "config init --project NEW",
]


@pytest.fixture(params=["000", "077"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """A umask, set for this process and the commands that it runs."""
    wanted = int(request.param, 8)
    before = os.umask(wanted)
    yield wanted
    os.umask(before)


def created(top: Path, known: set[Path]) -> dict[str, int]:
    """Return the mode of each new file and directory below `top`."""
    return {str(p.relative_to(top)): stat.S_IMODE(p.lstat().st_mode) for p in top.rglob("*") if p not in known}


def test_every_file_is_private_whatever_the_umask(umask: int, tmp_path: Path) -> None:
    project, port = tmp_path / "project", free_port()
    for directory in (project, project / "site", project / "new"):
        directory.mkdir(mode=0o755)
    (project / "site" / "index.html").write_text("hello")
    (project / "toombos.toml").write_text(
        f"""
[services.web]
command = ["{sys.executable}", "-m", "http.server", "{port}", "--directory", "site"]
port = {port}
health = "/"
health_answer = "page"
[load]
service = "web"
[[smoke]]
name = "page"
service = "web"
path = "/"
[schedule.check]
command = ["health"]
every_minutes = 5
"""
    )
    (project / "toombos.toml").chmod(0o644)
    old = tmp_path / "old.html"
    old.write_text("an earlier page")
    old.chmod(0o644)
    known, wrong = set(tmp_path.rglob("*")), {}
    try:
        for number, line in enumerate(LINES):
            named = line.replace("OUT", str(tmp_path / f"out{number}")).replace("OLD.html", str(old))
            done = run_toombos(*named.replace("NEW", str(project / "new")).split(), cwd=project)
            assert done.returncode in (0, 1, 4), (line, done.stderr)
            for name, mode in created(tmp_path, known).items():
                path = tmp_path / name
                private = 0o700 if path.is_dir() else 0o600
                allowed = 0o664 & ~umask if name in PUBLIC else private
                if not path.is_symlink() and mode != allowed:
                    wrong[name] = f"{mode:o} after {line}"
            known |= set(tmp_path.rglob("*"))
    finally:
        run_toombos("stop", cwd=project)
    assert wrong == {}
    assert stat.S_IMODE(old.stat().st_mode) == 0o600
    assert len(known) > 20
