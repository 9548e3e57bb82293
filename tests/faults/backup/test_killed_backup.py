"""A backup killed at any point: earlier archives are unchanged, and nothing half-written gets a final name."""

import random
import time
from pathlib import Path

import pytest

from tests.support.backup_site import Site, Steps, run_apart
from toombos_cli.backup.archive.reader import Archive, verify_contents
from toombos_cli.backup.observer import Silent

pytestmark = pytest.mark.timeout(900)  # many processes or cases: slow on a busy machine


def assert_nothing_lost(site: Site, before: dict[str, str], killed: str) -> None:
    """Assert that a kill at `killed` lost no archive, left no unverified one, and does not affect the next backup."""
    after = site.archives()
    assert before.items() <= after.items(), f"an earlier archive changed after a kill at {killed}"
    for name in after.keys() - before.keys():
        with Archive(site.place.directory / name) as archive:
            verify_contents(archive, Silent())
    report = site.backup()
    assert report.known_good, f"the next backup fails after a kill at {killed}"
    left = {p.name for p in site.place.directory.iterdir() if "partial" in p.name or "scratch" in p.name}
    assert not left, f"left behind after a kill at {killed}"


def test_a_backup_killed_at_any_step_loses_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path).fill()
    steps = Steps()
    site.backup(steps)
    assert {"write", "sync", "verify", "publish", "checksum", "catalogue", "latest-good"} <= set(steps.names)
    for kill_at, name in enumerate(steps.names, 1):
        before = site.archives()
        process = run_apart(site, "backup", kill_at)
        _, errors = process.communicate()
        assert process.returncode == -9, f"not killed at {name}: {errors}"
        assert_nothing_lost(site, before, name)


@pytest.mark.parametrize("times", [10, pytest.param(100, marks=[pytest.mark.full, pytest.mark.timeout(1800)])])
def test_a_backup_killed_at_a_random_time_loses_nothing(tmp_path: Path, times: int) -> None:
    site = Site(tmp_path).fill()
    (tmp_path / "data" / "large").write_bytes(random.Random(1).randbytes(10 << 20))
    started = time.monotonic()
    run_apart(site, "backup", 0).communicate()
    whole_s = time.monotonic() - started
    draw = random.Random(times)
    for _ in range(times):
        before = site.archives()
        process = run_apart(site, "backup", 0)
        after_s = draw.uniform(0.3, 1.05) * whole_s
        time.sleep(after_s)
        process.kill()
        process.communicate()
        assert_nothing_lost(site, before, f"{after_s:.3f} s")
        for name in sorted(site.archives())[:-2]:
            (site.place.directory / name).unlink()
