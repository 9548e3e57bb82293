"""Files of other tools, as public projects have them, become manifests that start or that name what is missing."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.runner import Toombos, run_toombos

FILES = Path(__file__).with_name("imports")
STARTING = [
    pytest.param("procfile-node", "Procfile", {"web", "worker"}, ("node",), id="a Procfile with a web process"),
    pytest.param(
        "compose-cache", "compose.yaml", {"web", "cache"}, ("redis-server",), id="a Compose file with a build"
    ),
    pytest.param(
        "process-compose-dev", "process-compose.yaml", {"redis", "api"}, ("redis-server",), id="processes with probes"
    ),
    pytest.param(
        "supervisord-web", "supervisord.conf", {"web", "worker-0", "worker-1"}, (), id="programs of supervisord"
    ),
    pytest.param("pm2-site", "ecosystem.json", {"Our-site", "jobs"}, ("node",), id="apps of PM2"),
    pytest.param("npm-start", "package.json", {"start"}, ("node", "npm"), id="a script of npm"),
]


@pytest.fixture
def site(tmp_path: Path, name: str) -> Iterator[Path]:
    """A copy of a project with free ports in it; what was started is stopped at the end."""
    directory = tmp_path / "site"
    shutil.copytree(FILES / name, directory)
    port, other = free_port(), free_port()
    for path in (path for path in directory.rglob("*") if path.is_file()):
        path.write_text(path.read_text().replace("@PORT@", str(port)).replace("@OTHER@", str(other)))
    yield directory
    if (directory / "run").is_dir():
        run_toombos("stop", cwd=directory)


@pytest.mark.parametrize(("name", "file", "services", "programs"), STARTING)
def test_a_project_of_another_tool_starts(
    toombos: Toombos, site: Path, file: str, services: set[str], programs: tuple[str, ...]
) -> None:
    if missing := [program for program in programs if shutil.which(program) is None]:
        pytest.skip(f"not on this machine: {', '.join(missing)}")
    done = toombos("config", "init", "--from", file, cwd=site)
    assert done.returncode == 0, done.stderr
    started = toombos("start", cwd=site)
    assert started.returncode == 0, started.stderr
    rows = json.loads(toombos("status", "--json", cwd=site).stdout)["data"]["services"]
    assert {row["name"] for row in rows if row["phase"] == "ready"} == services


NAMING = [
    pytest.param("procfile-django", "Procfile", {"gunicorn", "celery"}, [], set(), id="a Procfile of Django"),
    pytest.param(
        "compose-shop",
        "docker-compose.yml",
        {"uvicorn", "celery", "alembic", "postgres"},
        ["initdb -D data/pgdata -U shop", "createdb -h 127.0.0.1 -p 5432 -U shop shop", "docker inspect -f"],
        {"search"},
        id="a Compose file with a database, a migration and an image of its own",
    ),
    pytest.param(
        "process-compose-web",
        "process-compose.yml",
        {"pnpm"},
        ["stays in the foreground"],
        {"postgres"},
        id="a daemon",
    ),
    pytest.param(
        "supervisord-fastapi",
        "supervisord.conf",
        {"/opt/venv-of-api/bin/uvicorn"},
        [],
        set(),
        id="programs of an image",
    ),
    pytest.param("pm2-cluster", "ecosystem.config.json", {"pnpm"}, ["max instances"], set(), id="a cluster of PM2"),
    pytest.param("npm-workspaces", "package.json", {"pnpm"}, [], set(), id="scripts of workspaces"),
]


@pytest.mark.parametrize(("name", "file", "programs", "tasks", "left_out"), NAMING)
def test_a_project_that_cannot_start_here_names_what_is_missing(
    toombos: Toombos, site: Path, file: str, programs: set[str], tasks: list[str], left_out: set[str]
) -> None:
    done = toombos("config", "init", "--from", file, "--json", cwd=site)
    data = json.loads(done.stdout)["data"]
    assert done.returncode == 0
    absent = {program for program in programs if shutil.which(program) is None}
    assert {item["program"] for item in data["missing_programs"]} == absent
    texts = "\n".join(task["text"] for task in data["open_tasks"])
    assert [task for task in tasks if task not in texts] == []
    assert left_out == set(data["left_out"])
    shown = toombos("start", "--preview", cwd=site)
    assert set(re.findall("its command '(.+)' was not found", shown.stderr)) == absent
    assert (shown.returncode == 1) == ("error: " in shown.stderr)
    written = (site / "toombos.toml").read_text()
    assert not [secret for secret in ("shop-pw-2024", "k3y-f0r-tests", "n0t-a-real-one") if secret in written]
