"""Everything that a restore staged is on disk before the live tree changes, as its system calls show."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.backup_site import Site
from tests.support.programs import needs
from toombos_cli.backup.durable import can_sync_filesystem


@pytest.mark.parametrize("files", [5, 150])
def test_every_staged_file_is_durable_before_the_first_exchange(tmp_path: Path, files: int) -> None:
    strace, log = needs("strace"), tmp_path / "calls"
    site = Site(tmp_path / "project")
    site.project.mkdir()
    site.fill()
    for number in range(files):
        site.write(f"data/deep/{number}", "content")
    archive = site.backup().archive
    restore = [sys.executable, "-m", "tests.support.backup_site", str(site.project), "restore", "0", archive]
    watch = [strace, "-f", "-y", "-e", "trace=write,fsync,syncfs,renameat2", "-o", str(log)]
    subprocess.run([*watch, *restore], check=True, capture_output=True)
    before = re.split(r"RENAME_EXCHANGE", log.read_text(errors="replace"))[0]
    written = [found.end() for found in re.finditer(r"write\(\d+<[^>]*/\.toombos-restore-\w+/new/", before)]
    synced = set(re.findall(r"fsync\(\d+<[^>]*/\.toombos-restore-\w+/new/(\w+/deep/\d+)>", before))
    at_once = [found.start() for found in re.finditer(r"syncfs\(\d+<[^>]*/\.toombos-restore-\w+/new>", before)]
    assert len(written) >= files
    if files < 100 or not can_sync_filesystem():
        assert len(synced) == files
        assert not at_once
    else:
        assert not synced
        assert max(at_once) > max(written)
