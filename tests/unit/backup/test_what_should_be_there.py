"""A backup is judged against what should be there; `backup status` and `config check` have the same judge."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.runner import Toombos
from tests.support.waiting import wait_for
from toombos_cli.backup.directory.prune import prune_archives
from toombos_cli.backup.directory.store import list_archives, newest_known_good
from toombos_cli.backup.maintenance import backup_status
from toombos_cli.backup.maintenance_reports import StatusReport
from toombos_cli.backup.observer import Silent
from toombos_cli.backup.reports import CreateReport
from toombos_cli.backup.run import run_backup
from toombos_cli.backup.scope import find_stores, make_place
from toombos_cli.base.errors import UsageError
from toombos_cli.base.results import Verdict
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.project.backup_coverage import find_gaps
from toombos_cli.project.configuration import gather_facts
from toombos_cli.settings.check import check_configuration

SERVICE = '[services.idle]\ncommand = ["sleep", "60"]\nscheme = "none"\n'
START = datetime(2026, 1, 1, 2, tzinfo=UTC)


class Shop:
    """A project whose nights pass as fast as its backups are made."""

    def __init__(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project, self.now = project, START
        for module in ("create", "run", "maintenance"):
            monkeypatch.setattr(f"toombos_cli.backup.{module}.utc_now", lambda: self.now)
        self.configure("")
        for name in ("data/x", "data/deep/y", "data/up/photo"):
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text("precious")

    def configure(self, backup: str, env: str = "") -> None:
        (self.project / "toombos.toml").write_text(SERVICE + env + ("[backup]\n" + backup if backup else ""))

    def database(self, name: str) -> None:
        with closing(sqlite3.connect(self.project / name)) as database:
            database.execute("CREATE TABLE t (x)")

    def backup(self, *accept: str, emergency: bool = False) -> CreateReport:
        report = run_backup(load_manifest(self.project), Silent(), accept=accept, emergency=emergency)
        self.now += timedelta(days=1)
        return report

    def status(self) -> StatusReport:
        manifest = load_manifest(self.project)
        gaps = find_gaps(manifest, find_stores(manifest).databases)
        return backup_status(make_place(manifest), self.now, max_age_h=26, gaps=gaps)

    def config_check(self) -> Verdict:
        """Return the verdict of `config check` about backups, which `diagnose` repeats."""
        found = check_configuration(gather_facts(load_manifest(self.project), environ={}))
        return next(one.verdict for one in found if one.id == "backup_gaps")

    def good(self) -> list[str]:
        return [info.path.name for info in list_archives(make_place(load_manifest(self.project))) if info.known_good]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def remove(name: str) -> Callable[[Shop], None]:
    return lambda shop: shutil.rmtree(shop.project / name)


def empty(name: str) -> Callable[[Shop], None]:
    def change(shop: Shop) -> None:
        shutil.rmtree(shop.project / name)
        (shop.project / name / "empty").mkdir(parents=True)

    return change


def to_a_lost_disk(shop: Shop) -> None:
    shutil.rmtree(shop.project / "data")
    (shop.project / "data").symlink_to("/nowhere/of/a/disk")


LOST: dict[str, tuple[str, Callable[[Shop], None], str, str]] = {
    "a default root is gone": ("", remove("data"), "absent", "data"),
    "a default root is empty, as an unmounted volume looks": ("", empty("data"), "emptied", "data"),
    "a root is a link to a disk that is not there": ("", to_a_lost_disk, "broken_link", "data"),
    "a configured root is gone": ('roots = ["data"]', remove("data"), "absent", "data"),
    "a nested root is empty": ('roots = ["data/up", "data/x"]', empty("data/up"), "emptied", "data/up"),
    "a root that is a file is gone": (
        'roots = ["data/x", "data/up"]',
        lambda shop: (shop.project / "data" / "x").unlink(),
        "absent",
        "data/x",
    ),
    "the manifest now names a root that does not exist": (
        "",
        lambda shop: shop.configure('roots = ["dta", "toombos.toml"]'),
        "absent",
        "dta",
    ),
    "the manifest now names a log root that does not exist": (
        "",
        lambda shop: shop.configure('log_roots = ["lgs"]'),
        "absent",
        "lgs",
    ),
    "a database that the settings name is gone": (
        "",
        lambda shop: (shop.project / "app.db").unlink(),
        "absent",
        "app.db",
    ),
}


@pytest.mark.parametrize(("backup", "change", "kind", "path"), LOST.values(), ids=LOST)
def test_no_archive_is_good_and_every_command_fails_once(
    shop: Shop, backup: str, change: Callable[[Shop], None], kind: str, path: str
) -> None:
    shop.configure(backup, 'env = { DATABASE_URL = "sqlite:///app.db" }\n')
    shop.database("app.db")
    first = shop.backup()
    assert (first.verdict, first.gaps, shop.status().verdict) == (Verdict.PASS, (), Verdict.PASS)
    change(shop)
    assert shop.status().verdict is Verdict.FAIL
    second = shop.backup()
    lost = next(gap for gap in second.gaps if gap.kind == kind)
    assert (lost.path, lost.verdict) == (path, Verdict.FAIL)
    assert second.verdict in (Verdict.ERROR, Verdict.FAIL)
    assert not second.known_good
    assert shop.good() == [Path(first.archive).name]
    assert (shop.status().verdict, shop.config_check()) == (Verdict.FAIL, Verdict.FAIL)


def test_after_39_nights_with_an_absent_root_the_last_real_archive_is_there_and_status_was_red_each_morning(
    shop: Shop,
) -> None:
    real = shop.backup()
    shutil.rmtree(shop.project / "data")
    for _ in range(39):
        assert shop.backup().verdict is Verdict.ERROR
        shop.now -= timedelta(hours=2)  # the look is less than max_age_h after a backup
        assert shop.status().verdict is Verdict.FAIL
        shop.now += timedelta(hours=2)
    assert shop.good() == [Path(real.archive).name]
    newest = newest_known_good(list_archives(make_place(load_manifest(shop.project))), shop.now)
    assert newest is not None
    assert newest.files == real.files


def test_prune_keeps_the_newest_incomplete_archive_beside_the_last_good_one(shop: Shop) -> None:
    first = shop.backup()
    shutil.rmtree(shop.project / "data" / "up")
    shop.configure('roots = ["data", "uploads"]')
    second, third = shop.backup(), shop.backup()
    manifest = load_manifest(shop.project)
    report = prune_archives(make_place(manifest), manifest.backup.retention, shop.now)
    kept = {one.path: one.keep for one in report.decisions}
    assert kept == {first.archive: True, second.archive: False, third.archive: True}


WRITER = """
import os, time
os.makedirs("uploads", exist_ok=True)
with open("uploads/photo", "ab") as photo, open("app.log", "a"), open("run.pid", "w"):
    open("ready", "w").close()
    time.sleep(600)
"""


def test_a_running_service_that_writes_outside_every_root_is_named(shop: Shop, toombos: Toombos) -> None:
    (shop.project / "writer.py").write_text(WRITER)
    service = '[services.shop]\ncommand = ["{python}", "writer.py"]\nscheme = "none"\n'
    (shop.project / "toombos.toml").write_text(service + '[backup]\nroots = ["data"]\n')
    assert toombos("start", cwd=shop.project).returncode == 0
    try:
        wait_for(lambda: (shop.project / "ready").exists(), within_s=20, what="the service")
        done = toombos("backup", cwd=shop.project)
        assert "uploads is in no root of the backup, and shop uses it" in done.stderr
        assert "add 'uploads' to [backup] roots" in done.stderr
        assert [gap.path for gap in shop.status().gaps] == ["uploads"]
        assert shop.config_check() is Verdict.WARN
    finally:
        toombos("stop", cwd=shop.project)


def test_what_is_meant_to_be_gone_is_accepted_once_and_by_name(shop: Shop) -> None:
    shop.backup()
    shutil.rmtree(shop.project / "data")
    with pytest.raises(UsageError, match="'dat'") as raised:
        shop.backup("dat")
    assert raised.value.problems[0].hint == "did you mean 'data'?"
    assert shop.backup("data").known_good
    assert (shop.backup().verdict, shop.status().verdict) == (Verdict.PASS, Verdict.PASS)


def test_the_record_of_an_older_version_is_made_from_its_newest_good_archive(shop: Shop) -> None:
    shop.backup()
    (shop.project / "backups" / "holdings.json").unlink()
    shutil.rmtree(shop.project / "data")
    assert shop.backup().verdict is Verdict.ERROR


@pytest.mark.parametrize("kind", ["logs that were rotated away", "files that the rules exclude"])
def test_an_archive_stays_good_without(shop: Shop, kind: str) -> None:
    (shop.project / "logs").mkdir()
    (shop.project / "logs" / "a.log").write_text("line")
    os.utime(shop.project / "logs" / "a.log", (START.timestamp(), START.timestamp()))
    assert shop.backup().known_good
    if kind == "logs that were rotated away":
        (shop.project / "logs" / "a.log").unlink()
    else:
        shop.configure('exclude = ["data/*"]')
    assert shop.backup().known_good


def test_an_emergency_backup_of_a_system_that_has_lost_its_data_is_complete_and_warns(shop: Shop) -> None:
    shop.backup()
    shutil.rmtree(shop.project / "data")
    report = shop.backup(emergency=True)
    assert (report.complete, report.verdict) == (True, Verdict.WARN)


OUTSIDE: dict[str, tuple[str, tuple[str, ...]]] = {
    "a SQLite file beside the manifest is named": ("", ("db.sqlite",)),
    "one that is saved elsewhere is not": ('elsewhere = ["db.sqlite"]', ()),
    "one that a root contains is not": ('roots = ["db.sqlite", "data", "toombos.toml"]', ()),
}


@pytest.mark.parametrize(("backup", "named"), OUTSIDE.values(), ids=OUTSIDE)
def test_data_outside_every_root_is_a_warning(shop: Shop, backup: str, named: tuple[str, ...]) -> None:
    shop.configure(backup or "log_days = 7")
    shop.database("db.sqlite")
    report = shop.backup()
    assert tuple(gap.path for gap in report.gaps) == named
    expected = Verdict.WARN if named else Verdict.PASS
    assert (report.verdict, shop.status().verdict, shop.config_check()) == (expected, expected, expected)
    assert report.known_good


def test_a_database_that_the_settings_name_and_a_rule_excludes_is_a_warning(shop: Shop) -> None:
    shop.configure('exclude = ["*.db"]', 'env = { DATABASE_URL = "sqlite:///data/app.db" }\n')
    shop.database("data/app.db")
    report = shop.backup()
    assert [(gap.kind, gap.path) for gap in report.gaps] == [("excluded", "data/app.db")]
    assert report.verdict is Verdict.WARN


def test_the_key_that_opens_the_archives_is_named_if_a_root_contains_it(shop: Shop) -> None:
    pyrage = pytest.importorskip("pyrage", reason="pyrage is not installed")
    key = pyrage.x25519.Identity.generate()
    (shop.project / "data" / "key.txt").write_text(str(key))
    shop.configure(f'age_recipients = ["{key.to_public()}"]\nage_identity = "data/key.txt"')
    report = shop.backup()
    assert [gap.kind for gap in report.gaps] == ["key_inside"]
    (shop.project / "data" / "key.txt").rename(shop.project / "elsewhere.txt")
    assert [gap.kind for gap in shop.backup().gaps] == ["key_unusable"]
    assert shop.status().age_h == 24


@pytest.mark.skipif(shutil.which("mount") is None or os.geteuid() != 0, reason="needs root to mount")
def test_a_volume_below_a_root_that_is_not_mounted_any_more_is_lost(shop: Shop) -> None:
    mounted = shop.project / "data" / "volume"
    mounted.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", str(mounted)], check=False, capture_output=True).returncode:
        pytest.skip("this machine mounts nothing")
    try:
        (mounted / "photo").write_text("p")
        if "data/volume" not in shop.backup().saved:
            pytest.skip("mounted file systems are not part of a backup")
    finally:
        subprocess.run(["umount", str(mounted)], check=True)
    report = shop.backup()
    assert [(gap.kind, gap.path) for gap in report.gaps] == [("emptied", "data/volume")]
    assert not report.known_good


AHEAD = {"of an hour": timedelta(hours=1), "of 40 days": timedelta(days=40)}


@pytest.mark.parametrize("ahead", AHEAD.values(), ids=AHEAD)
def test_an_archive_of_a_clock_that_was_ahead_is_never_fresh(shop: Shop, ahead: timedelta) -> None:
    shop.now += ahead
    shop.backup()
    shop.now = START
    assert (shop.status().verdict, shop.status().clock_was_ahead) == (Verdict.FAIL, True)
    shutil.rmtree(shop.project / "data")
    shop.backup()  # it is not good, and sees that the other is dated in the future
    shop.project.joinpath("data").mkdir()
    (shop.project / "data" / "x").write_text("back")
    shop.now = START + ahead + timedelta(hours=1)
    assert (shop.status().verdict, shop.status().clock_was_ahead) == (Verdict.FAIL, True)
    shop.backup()
    shop.now -= timedelta(hours=23)
    assert (shop.status().verdict, shop.status().clock_was_ahead) == (Verdict.PASS, False)
