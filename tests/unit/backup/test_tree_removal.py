"""Removing a tree: of any depth, whatever its modes are, and never through a link."""

import os
from pathlib import Path

from toombos_cli.backup.tree_removal import remove_tree

LEVELS = 2500


def deep_tree(top: Path, levels: int) -> None:
    """Create so many directories inside each other, with a file in the deepest."""
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)


def test_a_tree_of_thousands_of_levels_is_removed(tmp_path: Path):
    deep_tree(tmp_path / "tree", LEVELS)
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_a_wide_tree_with_locked_directories_is_removed(tmp_path: Path):
    for number in range(50):
        directory = tmp_path / "tree" / str(number)
        (directory / "below").mkdir(parents=True)
        (directory / "below" / "file").write_text("x")
        (directory / "file").write_text("x")
        (directory / "below").chmod(0)
        directory.chmod(0o500)
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_a_link_is_removed_and_what_it_leads_to_stays(tmp_path: Path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    remove_tree(tmp_path / "tree")
    remove_tree(tmp_path / "link")
    remove_tree(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == [tmp_path / "kept"]
    assert (tmp_path / "kept" / "file").exists()
