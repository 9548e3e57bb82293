"""`toombos export` as people call it: what it prints, its exit codes, and no secret in any of it."""

import json
from pathlib import Path

import pytest

from tests.support.exported_shop import CANARIES, write_shop
from tests.support.runner import run_toombos


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop, exported to Compose once."""
    project = write_shop(tmp_path_factory.mktemp("export") / "shop")
    (project / "taken").mkdir()
    (project / "taken" / "shop.target").write_text("mine\n")
    done = run_toombos("export", "compose", cwd=project)
    assert done.returncode == 0, done.stderr
    assert "not carried over:" in done.stdout
    assert done.stdout.rstrip().endswith("up --build --detach")
    return project


ENDS = {
    "nothing has changed": (("compose", "--diff", "export/compose"), 0),
    "nothing is there": (("systemd", "--diff", "nowhere"), 1),
    "a difference and a check exclude each other": (("compose", "--diff", "export/compose", "--check"), 2),
    "something is left out, and warnings count": (("compose", "--strict"), 1),
    "a file is somebody else's": (("systemd", "--output", "taken"), 5),
    "the directory is a file": (("systemd", "--output", "web.py"), 4),
}


@pytest.mark.parametrize(("arguments", "exit_code"), ENDS.values(), ids=ENDS.keys())
def test_the_exit_code_if(shop, arguments, exit_code):
    done = run_toombos("export", *arguments, cwd=shop)
    assert done.returncode == exit_code, done.stdout + done.stderr


@pytest.mark.parametrize("engine", ["systemd", "compose", "kubernetes"])
def test_the_report_names_what_is_left_out_and_no_secret(shop, engine):
    done = run_toombos("export", engine, "--check", "--json", cwd=shop)
    data = json.loads(done.stdout)["data"]
    assert data["output"] is None
    assert {"what", "reason"} == data["left_out"][0].keys()
    assert [canary for canary in CANARIES if canary in done.stdout + done.stderr] == []
