"""Archives encrypted with age: readable only with the key, and known good only if they could be verified."""

import dataclasses
from pathlib import Path

import pytest

from tests.support.backup_site import NoServices, Site
from toombos_cli.backup.archive.encryption import Keys
from toombos_cli.backup.create import BackupPlan, create_backup
from toombos_cli.backup.directory.store import list_archives
from toombos_cli.backup.errors import BadArchiveError
from toombos_cli.backup.maintenance import run_drill, verify_archives
from toombos_cli.backup.observer import Silent
from toombos_cli.backup.restore import restore
from toombos_cli.backup.restore_request import RestoreRequest
from toombos_cli.base.errors import ConfigurationError, OperationError
from toombos_cli.base.results import Verdict

pyrage = pytest.importorskip("pyrage", reason="pyrage is not installed")


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    identity = pyrage.x25519.Identity.generate()
    file = tmp_path / "key.txt"
    file.write_text(f"# created by a test\n{identity}\n")
    return Keys(recipients=(str(identity.to_public()),), identity=file)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    project = tmp_path / "project"
    project.mkdir()
    return Site(project).fill("old")


def plan(site: Site, keys: Keys) -> BackupPlan:
    return BackupPlan(place=site.place, scope=site.scope, keys=keys)


def request(site: Site, keys: Keys, archive: str | None = None) -> RestoreRequest:
    return RestoreRequest(place=site.place, scope=site.scope, archive=Path(archive) if archive else None, keys=keys)


def test_an_encrypted_archive_and_its_safety_backup_can_be_restored(site: Site, keys: Keys) -> None:
    report = create_backup(plan(site, keys), Silent())
    assert report.archive.endswith(".tar.zst.age")
    assert report.known_good
    site.fill("new")
    done = restore(request(site, keys), NoServices(), Silent())
    assert site.words() == ["old"]
    assert done.restored_from == report.archive
    assert done.safety_backup is not None
    assert done.safety_backup.endswith(".age")
    restore(request(site, keys, done.safety_backup), NoServices(), Silent())
    assert site.words() == ["old", "new"]


def test_no_clear_text_is_in_the_backup_directory(site: Site, keys: Keys) -> None:
    site.write(".env", "API_KEY=very-secret-value\n" * 100)
    create_backup(plan(site, keys), Silent())
    files = [path for path in site.place.directory.rglob("*") if path.is_file()]
    assert not any(b"very-secret-value" in path.read_bytes() for path in files)
    assert not [path for path in files if path.name.endswith(".tar.zst")]


def test_an_archive_written_without_the_key_is_not_known_good(site: Site, keys: Keys) -> None:
    report = create_backup(plan(site, dataclasses.replace(keys, identity=None)), Silent())
    assert (report.verified, report.known_good, report.verdict) == (False, False, Verdict.WARN)
    assert not list_archives(site.place)[0].verified
    assert verify_archives(site.place, (), Silent()).verdict is Verdict.ERROR
    assert verify_archives(site.place, (), Silent(), keys).verdict is Verdict.PASS
    assert list_archives(site.place)[0].known_good
    assert run_drill(site.place, None, Silent(), keys).files == 4


def test_another_key_or_a_flipped_bit_is_refused(site: Site, keys: Keys, tmp_path: Path) -> None:
    report = create_backup(plan(site, keys), Silent())
    other = tmp_path / "other.txt"
    other.write_text(str(pyrage.x25519.Identity.generate()))
    with pytest.raises(BadArchiveError, match="another key"):
        restore(request(site, Keys(identity=other), report.archive), NoServices(), Silent())
    path = Path(report.archive)
    damaged = bytearray(path.read_bytes())
    damaged[-5] ^= 1
    path.write_bytes(damaged)
    before = site.tree()
    with pytest.raises(BadArchiveError):
        restore(request(site, keys, report.archive), NoServices(), Silent())
    assert site.tree() == before


@pytest.mark.parametrize(
    "content", ["", "no key in here\n", "AGE-SECRET-KEY-1BROKEN\n"], ids=["empty", "without a key", "with a broken key"]
)
def test_an_error_names_an_unusable_identity_file(site: Site, keys: Keys, tmp_path: Path, content: str) -> None:
    report = create_backup(plan(site, keys), Silent())
    file = tmp_path / "useless.txt"
    file.write_text(content)
    with pytest.raises(OperationError, match="identity") as raised:
        restore(request(site, Keys(identity=file), report.archive), NoServices(), Silent())
    assert raised.value.problems[0].where == str(file)


def test_an_invalid_recipient_is_a_configuration_error(site: Site) -> None:
    with pytest.raises(ConfigurationError, match="age1nonsense"):
        create_backup(plan(site, Keys(recipients=("age1nonsense",))), Silent())
    assert list_archives(site.place) == ()
