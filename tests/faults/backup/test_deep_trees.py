"""A data directory of more levels than Python calls itself: every command of backups takes it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.runner import run_toombos
from tests.unit.backup.test_tree_removal import deep_tree
from toombos_cli.backup.tree_removal import remove_tree

LEVELS = 1200
PROJECT = """
[services.x]
command = ["sleep", "600"]
scheme = "none"
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "toombos.toml").write_text(PROJECT)
    deep_tree(tmp_path / "data", LEVELS)
    yield tmp_path
    remove_tree(tmp_path / "data")  # pytest's own removal calls itself for each level


def test_a_deep_tree_is_backed_up_verified_restored_and_backed_up_again(project: Path):
    deepest = project / "data" / "/".join(["d"] * LEVELS) / "file"
    for args in (
        ("backup",),
        ("backup", "verify"),
        ("backup", "list"),
        ("restore", "--latest-good", "--preview"),
        ("restore", "--latest-good"),
        ("backup",),
    ):
        done = run_toombos(*args, cwd=project, timeout_s=120)
        assert done.returncode == 0, (args, done.stderr + done.stdout)
        assert os.path.exists(deepest)  # noqa: PTH110  (a path of this length)
    assert not list(project.glob(".toombos-*"))
