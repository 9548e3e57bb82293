"""A full disk at any stage: a clear error, nothing half-written, old archives and the live tree unchanged."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backup_site import Site
from toombos_cli.base.errors import OperationError


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of 48 MiB; skip if it may not be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m,mode=700", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mount -t tmpfs is not permitted")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def noise(size_bytes: int) -> bytes:
    """Return bytes that cannot be compressed."""
    import random

    return random.Random(size_bytes).randbytes(size_bytes)


def leftovers(site: Site) -> list[str]:
    return [
        path.name
        for directory in (site.place.directory, site.project)
        for path in directory.glob(".*")
        if path.name not in (".env", ".project")
    ]


def test_a_sparse_file_larger_than_the_disk_can_be_restored(small_disk: Path) -> None:
    site = Site(small_disk).fill()
    holes = small_disk / "data" / "holes"
    with holes.open("wb") as file:
        file.truncate(100 << 20)
        file.seek(50 << 20)
        file.write(b"island")
    archive = site.backup().archive
    holes.unlink()
    site.restore(archive)
    assert holes.stat().st_size == 100 << 20
    assert holes.read_bytes()[50 << 20 :][:6] == b"island"


def test_a_backup_on_a_full_disk_leaves_nothing_behind(small_disk: Path) -> None:
    site = Site(small_disk).fill()
    (small_disk / "data" / "small").write_bytes(noise(1 << 20))
    site.backup()
    (small_disk / "data" / "large").write_bytes(noise(24 << 20))
    archives, tree = site.archives(), site.tree()
    with pytest.raises(OperationError, match=r"No space left|not enough disk space") as raised:
        site.backup()
    assert raised.value.problems[0].hint
    assert (site.archives(), site.tree(), leftovers(site)) == (archives, tree, [])


def test_a_backup_that_outgrows_the_disk_while_it_is_written_leaves_nothing_behind(
    tmp_path: Path, small_disk: Path
) -> None:
    """The space looked sufficient at first: the tree is on another disk and does not compress."""
    project = tmp_path / "project"
    project.mkdir()
    site = Site(project).fill()
    (project / "backups").symlink_to(small_disk)
    site.backup()
    (project / "data" / "large").write_bytes(noise(64 << 20))
    archives, tree = site.archives(), site.tree()
    with pytest.raises(OperationError, match="No space left"):
        site.backup()
    assert (site.archives(), site.tree(), leftovers(site)) == (archives, tree, [])


@pytest.mark.parametrize("filler_mib", [8, 27], ids=["no space for the safety backup", "no space to unpack"])
def test_a_restore_on_a_full_disk_changes_nothing(small_disk: Path, filler_mib: int) -> None:
    site = Site(small_disk).fill()
    (small_disk / "data" / "noise").write_bytes(noise(6 << 20))
    archive = site.backup().archive
    (small_disk / "data" / "noise").write_bytes(noise(7 << 20))
    (small_disk / "filler").write_bytes(noise(filler_mib << 20))
    archives, tree = site.archives(), site.tree()
    with pytest.raises(OperationError, match=r"No space left|not enough disk space"):
        site.restore(archive)
    assert (site.archives(), site.tree(), leftovers(site)) == (archives, tree, [])
    assert not site.place.journal.exists()


def test_a_journal_that_cannot_be_written_stops_the_restore(tmp_path: Path, small_disk: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    site = Site(project).fill("old")
    archive = site.backup().archive
    site.fill("new")
    (project / "run" / "backup.lock").unlink()
    (project / "run").rmdir()
    (project / "run").symlink_to(small_disk)
    (small_disk / "backup.lock").touch()
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "filler").write_bytes(bytes(64 << 20))
    tree = site.tree()
    with pytest.raises(OperationError, match="No space left"):
        site.restore(archive)
    assert (site.tree(), leftovers(site)) == (tree, [])
