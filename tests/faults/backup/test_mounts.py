"""File systems mounted at a root or below it: a restore replaces their content in place and never empties them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.backup_site import ROOTS, Site, Steps, run_apart
from tests.support.mounts import Mounts, mounts
from toombos_cli.backup.observer import Silent
from toombos_cli.backup.transaction.rollback import settle_restore
from toombos_cli.backup.tree_removal import remove_tree
from toombos_cli.base.errors import OperationError, RefusedError

__all__ = ["mounts"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "project").mkdir()
    (tmp_path / "vol" / "album").mkdir(parents=True)
    (tmp_path / "vol" / "photo").write_text("old")
    (tmp_path / "vol" / "album" / "one").write_text("old")
    (tmp_path / "vol").chmod(0o1777)
    site = Site(tmp_path / "project").fill("old")
    (site.project / "data" / "history.db").unlink()
    return site


def at(site: Site, name: str) -> Path:
    path = site.project / name
    path.mkdir(exist_ok=True)
    return path


def below_a_root(site: Site, mounts: Mounts) -> None:
    mounts.bind(site.project.parent / "vol", at(site, "data/up"))


def on_another_device(site: Site, mounts: Mounts) -> None:
    mounts.tmpfs(at(site, "data/up"))
    site.write("data/up/photo", "old")


def at_a_root(site: Site, mounts: Mounts) -> None:
    mounts.bind(site.project.parent / "vol", at(site, "data"))


def nested(site: Site, mounts: Mounts) -> None:
    below_a_root(site, mounts)
    mounts.tmpfs(at(site, "data/up/album"))
    site.write("data/up/album/one", "old")


def in_a_deep_directory(site: Site, mounts: Mounts) -> None:
    mounts.bind(site.project.parent / "vol", at(site, "data/deep/er"))


def of_a_single_file(site: Site, mounts: Mounts) -> None:
    site.write("data/conf", "old")
    (site.project.parent / "conf").write_text("old")
    mounts.bind(site.project.parent / "conf", site.project / "data/conf")


def with_a_name_that_mounts_escapes(site: Site, mounts: Mounts) -> None:
    mounts.bind(site.project.parent / "vol", at(site, "data/a b\\\n"))


LAYOUTS = {
    "a directory of the same file system": below_a_root,
    "another device": on_another_device,
    "the root itself": at_a_root,
    "one mount in another": nested,
    "a mount in a directory of the root": in_a_deep_directory,
    "a single file": of_a_single_file,
    "a name that /proc escapes": with_a_name_that_mounts_escapes,
}


def change(site: Site) -> None:
    """Change, remove and add something in every directory, and change their modes."""
    for directory in [site.project / "data", *(site.project / "data").rglob("*/")]:
        for path in sorted(directory.iterdir()):
            if path.is_file() and not os.path.ismount(path) and path.name != "conf":
                path.write_text("changed")
        (directory / "new").write_text("new")
        (directory / "new dir").mkdir()
        (directory / "new dir" / "file").write_text("new")
        directory.chmod(0o711)


@pytest.mark.parametrize("mount", LAYOUTS.values(), ids=LAYOUTS)
def test_a_restore_brings_back_what_was_mounted_and_leaves_the_mount(
    site: Site, mounts: Mounts, mount: Callable[[Site, Mounts], None]
):
    mount(site, mounts)
    mounted = mount_points(site.project)
    before = site.tree()
    archive = site.backup().archive
    change(site)
    preview = site.restore(archive, preview=True)
    report = site.restore(archive)
    assert (preview.added, preview.changed, preview.removed) == (report.added, report.changed, report.removed)
    assert site.tree() == before
    assert mount_points(site.project) == mounted
    assert not list(site.project.rglob(".toombos-restore-*"))
    assert report.replaced_at is None
    assert site.restore(archive, preview=True).changed == ()


@pytest.mark.parametrize("mount", LAYOUTS.values(), ids=LAYOUTS)
def test_a_restore_that_is_undone_leaves_every_mount_as_it_was(
    site: Site, mounts: Mounts, mount: Callable[[Site, Mounts], None]
):
    mount(site, mounts)
    archive = site.backup().archive
    change(site)
    mounted, before = mount_points(site.project), site.tree()
    with pytest.raises(OperationError, match="did not become healthy"):
        site.restore(archive, services=Sick())
    assert site.tree() == before
    assert mount_points(site.project) == mounted


def test_an_excluded_mount_stays_untouched(site: Site, mounts: Mounts):
    archive = site.backup().archive
    below_a_root(site, mounts)
    site.scope = Site(site.project, ROOTS, exclude=("data/up",)).scope
    before = tree_of(site, "data/up")
    report = site.restore(archive)
    assert "data/up" in report.kept
    assert tree_of(site, "data/up") == before
    assert len(mount_points(site.project)) == 1


@pytest.mark.parametrize("empty_then", [False, True], ids=["was not there", "was empty, as if not mounted"])
def test_a_mount_that_the_archive_has_nothing_of_is_kept(site: Site, mounts: Mounts, empty_then: bool):
    if empty_then:
        at(site, "data/up")
    archive = site.backup().archive
    below_a_root(site, mounts)
    before = tree_of(site, "data/up")
    for preview in (True, False):
        report = site.restore(archive, preview=preview)
        assert "data/up" in report.kept
        assert report.removed == ()
    assert tree_of(site, "data/up") == before


@pytest.mark.parametrize("only", ["data/up", "data/up/photo", "data/up/album"])
def test_a_path_in_a_mount_can_be_restored_alone(site: Site, mounts: Mounts, only: str):
    below_a_root(site, mounts)
    before = tree_of(site, only)
    archive = site.backup().archive
    change(site)
    site.restore(archive, only=(only,))
    assert tree_of(site, only) == before
    assert (site.project / "data/new").exists()
    assert len(mount_points(site.project)) == 1


def test_a_read_only_mount_is_left_alone_and_named(site: Site, mounts: Mounts):
    below_a_root(site, mounts)
    archive = site.backup().archive
    mounts.make_read_only(site.project / "data/up")
    before = tree_of(site, "data/up")
    for preview in (True, False):
        report = site.restore(archive, preview=preview)
        assert [(one.path, one.what, one.reason) for one in report.not_set] == [
            ("data/up", "the content", "it is mounted read-only")
        ]
    assert tree_of(site, "data/up") == before


def test_a_mounted_file_with_another_content_is_refused_before_anything(site: Site, mounts: Mounts):
    of_a_single_file(site, mounts)
    archive = site.backup().archive
    change(site)
    (site.project / "data/conf").write_text("new")
    before = site.tree()
    with pytest.raises(RefusedError, match="'data/conf' is a mount point, and its content differs"):
        site.restore(archive)
    assert site.tree() == before
    assert len(site.archives()) == 1, "no safety backup was made"


def test_a_mount_where_the_archive_has_a_file_is_refused_before_anything(site: Site, mounts: Mounts):
    site.write("data/up", "a file")
    archive = site.backup().archive
    (site.project / "data/up").unlink()
    below_a_root(site, mounts)
    before = site.tree()
    with pytest.raises(RefusedError, match="contains a mount point, and is a file in the archive"):
        site.restore(archive)
    assert site.tree() == before


def test_a_restore_killed_with_a_mount_in_its_tree_is_undone_or_finished_in_full(site: Site, mounts: Mounts):
    nested(site, mounts)
    old = site.tree()
    archive = site.backup().archive
    change(site)
    steps = Steps()
    site.restore(archive, observer=steps)
    moments = {*(edge(steps.names, name) for name in ("prepare", "commit", "start services", "close journal"))}
    exchanges = [at for at, name in enumerate(steps.names, 1) if name == "exchange"]
    outcomes = set()
    for kill_at in sorted({*moments, exchanges[1], exchanges[len(exchanges) // 2], exchanges[-1]}):
        if site.tree() == old:
            change(site)
        changed = site.tree()
        run_apart(site, "restore", kill_at, archive).communicate(timeout=60)
        settle_restore(site.place, Silent())
        assert site.tree() in (old, changed), kill_at
        assert not list(site.project.rglob(".toombos-restore-*"))
        outcomes.add(site.tree() == old)
    assert outcomes == {True, False}


def edge(names: list[str], name: str) -> int:
    """Return the number of the last step of this name."""
    return len(names) - names[::-1].index(name)


def test_a_removal_does_not_enter_a_mount(tmp_path: Path, mounts: Mounts):
    (tmp_path / "tree" / "below" / "mount").mkdir(parents=True)
    (tmp_path / "tree" / "file").write_text("x")
    (tmp_path / "vol").mkdir()
    (tmp_path / "vol" / "photo").write_text("x")
    mounts.bind(tmp_path / "vol", tmp_path / "tree" / "below" / "mount")
    with pytest.raises(OSError, match="another file system is mounted here"):
        remove_tree(tmp_path / "tree")
    assert (tmp_path / "vol" / "photo").exists()
    assert (tmp_path / "tree" / "file").exists()


class Sick:
    """Services that do not become healthy with the restored state."""

    def stop(self) -> tuple[str, ...]:
        return ("app",)

    def logs_in_use(self) -> frozenset[str]:
        return frozenset()

    def start(self, names: tuple[str, ...]) -> None:
        raise OperationError("app: exited with 1")


def mount_points(project: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return sorted(point for point in (line.split()[1] for line in lines) if point.startswith(str(project)))


def tree_of(site: Site, name: str) -> dict[bytes, Any]:
    top = os.fsencode(name)
    return {found: facts for found, facts in site.tree().items() if found == top or found.startswith(top + b"/")}
