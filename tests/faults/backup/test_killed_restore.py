"""A restore killed at any point: after the next call, the tree is entirely old or entirely new, never a mixture."""

import random
import shutil
import time
from pathlib import Path

import pytest

from tests.support.backup_site import Site, Steps, run_apart
from toombos_cli.backup.observer import Silent
from toombos_cli.backup.transaction.rollback import settle_restore

pytestmark = pytest.mark.timeout(900)  # many processes or cases: slow on a busy machine

Tree = dict[bytes, tuple[object, ...]]


class Ground:
    """An archive of the old tree, and a changed live tree that each attempt starts with."""

    def __init__(self, tmp_path: Path) -> None:
        site = Site(tmp_path / "pristine")
        site.project.mkdir()
        site.fill("old")
        before = site.tree()
        self.archive = site.backup().archive
        site.fill("new")
        site.write("data/added.txt", "came later")
        (site.project / "logs" / "app.log").unlink()
        self.live = site.tree()
        self._pristine, self._attempt = site.project, tmp_path / "attempt"
        restored = self.fresh()
        restored.restore(self.archive)
        self.archived = restored.tree()  # a database snapshot differs from its source in the change counter
        assert restored.words() == ["old"]
        assert {n: f for n, f in self.archived.items() if n != b"data/history.db"} == {
            n: f for n, f in before.items() if n != b"data/history.db"
        }

    def fresh(self) -> Site:
        """Return a new copy of the changed tree, with its times."""
        shutil.rmtree(self._attempt, ignore_errors=True)
        shutil.copytree(self._pristine, self._attempt, symlinks=True)
        return Site(self._attempt)

    def state(self, site: Site) -> str:
        tree = site.tree()
        return "old" if tree == self.archived else "new" if tree == self.live else f"mixed: {sorted(tree)}"


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def kill(site: Site, doing: str, kill_at: int, *args: object) -> None:
    process = run_apart(site, doing, kill_at, *args)
    _, errors = process.communicate()
    assert process.returncode == -9, f"{doing} was not killed at step {kill_at}: {errors}"


def test_a_restore_killed_at_any_step_is_undone_or_completed(ground: Ground) -> None:
    steps = Steps()
    site = ground.fresh()
    site.restore(ground.archive, observer=steps)
    assert ground.state(site) == "old"
    assert steps.names.count("exchange") == 3
    seen = set()
    for kill_at, name in enumerate(steps.names, 1):
        site = ground.fresh()
        kill(site, "restore", kill_at, ground.archive)
        settle_restore(site.place, Silent())
        assert ground.state(site) in ("old", "new"), f"killed at {name}"
        seen.add(ground.state(site))
        settle_restore(site.place, Silent())
        assert not site.place.journal.exists()
    assert seen == {"old", "new"}


def test_the_next_restore_first_undoes_an_interrupted_one(ground: Ground) -> None:
    site = ground.fresh()
    steps = Steps()
    ground.fresh().restore(ground.archive, observer=steps)
    site = ground.fresh()
    kill(site, "restore", steps.names.index("exchange") + 2, ground.archive)
    report = site.restore(ground.archive)
    assert report.recovered == "rolled back"
    assert ground.state(site) == "old"


def test_a_recovery_killed_at_any_step_can_be_repeated(ground: Ground) -> None:
    steps = Steps()
    ground.fresh().restore(ground.archive, observer=steps)
    for phase, outcome in (("commit", "new"), ("start services", "old")):
        kill_at = steps.names.index(phase) + 1
        site = ground.fresh()
        kill(site, "restore", kill_at, ground.archive)
        recovery = Steps()
        settle_restore(site.place, recovery)
        for kill_recovery_at, name in enumerate(recovery.names, 1):
            site = ground.fresh()
            kill(site, "restore", kill_at, ground.archive)
            kill(site, "recover", kill_recovery_at)
            settle_restore(site.place, Silent())
            assert ground.state(site) == outcome, f"recovery killed at {name}"


@pytest.mark.parametrize("times", [10, pytest.param(100, marks=[pytest.mark.full, pytest.mark.timeout(1800)])])
def test_a_restore_killed_at_a_random_time_is_undone_or_completed(ground: Ground, times: int) -> None:
    started = time.monotonic()
    run_apart(ground.fresh(), "restore", 0, ground.archive).communicate()
    whole_s = time.monotonic() - started
    draw = random.Random(times)
    for _ in range(times):
        site = ground.fresh()
        process = run_apart(site, "restore", 0, ground.archive)
        after_s = draw.uniform(0.4, 1.05) * whole_s
        time.sleep(after_s)
        process.kill()
        process.communicate()
        settle_restore(site.place, Silent())
        assert ground.state(site) in ("old", "new"), f"killed after {after_s:.3f} s"
