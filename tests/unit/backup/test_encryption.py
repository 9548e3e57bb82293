"""Archives encrypted with age: readable only with the key, and known good only if they could be verified."""

import dataclasses
import subprocess
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


UNUSABLE = {
    "no key": None,
    "the path of a file that does not exist": "",
    "a key that a passphrase protects": "age-encryption.org/v1\n-> scrypt salt 18\n",
    "an armoured key that a passphrase protects": "-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n",
    "a file without a key": "no key in here\n",
}


@pytest.mark.parametrize("content", UNUSABLE.values(), ids=UNUSABLE)
def test_the_recipients_alone_make_a_good_archive_if_the_machine_has(
    site: Site, keys: Keys, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "unusable"
    if content:
        file.write_text(content)
    here = dataclasses.replace(keys, identity=None if content is None else file)
    report = create_backup(plan(site, here), Silent())
    assert (report.verified, report.known_good, report.verdict) == (True, True, Verdict.PASS)
    (verified,) = verify_archives(site.place, (), Silent(), here).archives
    assert (verified.verdict, verified.complete) == (Verdict.PASS, True)
    assert "not decrypted" in verified.detail
    site.write(".env", "NEW=1\n")
    assert list_archives(site.place)[0].known_good
    assert run_drill(site.place, None, Silent(), keys).files == 4
    Path(report.archive).write_bytes(Path(report.archive).read_bytes()[:-1])
    assert verify_archives(site.place, (), Silent(), here).verdict is Verdict.FAIL


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
    "content",
    ["", "no key in here\n", "AGE-SECRET-KEY-1BROKEN\n", "age-encryption.org/v1\n-> scrypt salt 18\n\xf8"],
    ids=["empty", "without a key", "with a broken key", "protected by a passphrase"],
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


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_an_ssh_key_encrypts_and_opens_an_archive(site: Site, tmp_path: Path, kind: str) -> None:
    key = ssh_key(tmp_path, kind)
    keys = Keys(recipients=(key.with_suffix(".pub").read_text().strip(),), identity=key)
    assert create_backup(plan(site, keys), Silent()).known_good
    site.fill("new")
    restore(request(site, keys), NoServices(), Silent())
    assert site.words() == ["old"]


def test_an_ssh_key_with_a_passphrase_is_named_with_the_command_that_makes_it_usable(
    site: Site, tmp_path: Path
) -> None:
    key = ssh_key(tmp_path, "ed25519", passphrase="secret")
    keys = Keys(recipients=(key.with_suffix(".pub").read_text().strip(),), identity=key)
    assert create_backup(plan(site, keys), Silent()).known_good
    with pytest.raises(OperationError, match="passphrase") as raised:
        restore(request(site, keys), NoServices(), Silent())
    assert "ssh-keygen -p" in (raised.value.problems[0].hint or "")


def ssh_key(directory: Path, kind: str, *, passphrase: str = "") -> Path:
    """Return a new SSH key; its public half is beside it."""
    key = directory / f"id_{kind}"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(key)], check=True)
    return key


@pytest.mark.parametrize("secret", ["AGE-SECRET-KEY-1QQQQ", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb"])
def test_a_secret_key_among_the_recipients_is_refused_and_not_printed(site: Site, secret: str) -> None:
    with pytest.raises(ConfigurationError, match="secret key") as raised:
        create_backup(plan(site, Keys(recipients=(secret,))), Silent())
    assert "QQQQ" not in str(raised.value.problems)
    assert "b3Blb" not in str(raised.value.problems)
