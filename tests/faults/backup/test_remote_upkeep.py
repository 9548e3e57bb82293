"""Archives at a remote are verified against what was copied there, and removed only if they were copied from here."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.backup_site import Site
from toombos_cli.backup.directory.remote_sync import copy_to
from toombos_cli.backup.directory.remote_upkeep import prune_remote, verify_remote
from toombos_cli.backup.directory.store import utc_now
from toombos_cli.backup.maintenance import pin_archive, verify_archives
from toombos_cli.backup.maintenance_reports import PruneReport
from toombos_cli.backup.observer import Silent
from toombos_cli.base.errors import UsageError
from toombos_cli.base.results import Verdict
from toombos_cli.manifest.tables.backup import Retention

pytest.importorskip("obstore")

STRANGE = "toombos-20250101T000000Z-ffff.tar.zst"


class Remote:
    """A site with three archives at a remote, the oldest first; only the newest is still here."""

    def __init__(self, top: Path) -> None:
        self.site, self.directory = Site(top / "project"), top / "copies"
        self.site.project.mkdir()
        self.directory.mkdir()
        self.url, self.names = f"file://{self.directory}", []
        self.site.fill()
        for day in (1, 2, 3):
            made = Path(self.site.backup().archive)
            archive = made.with_name(f"toombos-2026010{day}T000000Z-{made.name[-12:]}")
            made.rename(archive)
            Path(f"{made}.sha256").rename(f"{archive}.sha256")
            copy_to(self.url, archive, self.site.place, Silent())
            self.names.append(archive.name)
            if day < 3:
                archive.unlink()
                Path(f"{archive}.sha256").unlink()
        verify_archives(self.site.place, (), Silent())  # the newest has another name than when it was made

    def prune(self, *, last: int = 1, preview: bool = False) -> PruneReport:
        policy = Retention(last=last, daily=0)
        return prune_remote(self.url, self.site.place, policy, utc_now(), preview=preview)

    def archives(self) -> list[str]:
        return sorted(path.name for path in self.directory.glob("*.zst"))


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return Remote(tmp_path)


def test_only_copies_from_here_that_the_retention_does_not_keep_are_removed(remote: Remote) -> None:
    oldest, unread, newest = remote.names
    for name in (STRANGE, f"{STRANGE}.sha256"):
        (remote.directory / name).write_text("of another machine")
    (remote.directory / f"{unread}.sha256").unlink()
    shown = {Path(one.path).name: (one.keep, one.reason) for one in remote.prune(preview=True).decisions}
    assert remote.archives() == sorted([STRANGE, *remote.names])
    assert shown[oldest] == (False, "outside the retention")
    assert shown[unread] == (True, "not verified here yet")
    assert shown[STRANGE] == (True, "not copied from here")
    assert shown[newest][0]
    remote.prune()
    assert remote.archives() == sorted([STRANGE, unread, newest])
    assert not (remote.directory / f"{oldest}.sha256").exists()
    assert all(one.keep for one in remote.prune().decisions)


def test_everything_of_which_no_record_is_here_stays(remote: Remote) -> None:
    remote.site.place.copies.unlink()
    remote.prune()
    assert remote.archives() == remote.names


def test_what_is_pinned_here_stays_there(remote: Remote) -> None:
    newest = Path(remote.names[2])
    assert pin_archive(remote.site.place, newest, pinned=True).archives[0].pinned
    remote.prune()
    assert newest.name in remote.archives()


def test_the_newest_good_copy_stays_even_if_newer_ones_are_cut_off(remote: Remote) -> None:
    newest = remote.directory / remote.names[2]
    newest.write_bytes(newest.read_bytes()[:-1])
    remote.prune()
    assert remote.names[1] in remote.archives()


def test_without_a_remote_there_is_nothing_to_prune_or_verify(remote: Remote) -> None:
    with pytest.raises(UsageError):
        prune_remote("", remote.site.place, Retention(), utc_now())
    with pytest.raises(UsageError):
        verify_remote("", remote.site.place, (), Silent())


def flip(copy: Path) -> None:
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)


def flip_with_checksum(copy: Path) -> None:
    flip(copy)
    checksum(copy).write_text(f"{hashlib.sha256(copy.read_bytes()).hexdigest()}  {copy.name}\n")


def checksum(copy: Path) -> Path:
    return Path(f"{copy}.sha256")


OTHER = "its bytes are not those that were copied there"
CHANGES: dict[str, tuple[Callable[[Path], None], bool, Verdict, str]] = {
    "as it was copied": (lambda copy: None, True, Verdict.PASS, ""),
    "a byte is another one": (flip, True, Verdict.FAIL, OTHER),
    "it and its checksum file were replaced": (flip_with_checksum, True, Verdict.FAIL, OTHER),
    "it was cut off": (lambda copy: copy.write_bytes(copy.read_bytes()[:-1]) and None, True, Verdict.FAIL, OTHER),
    "its checksum file is gone": (lambda copy: checksum(copy).unlink(), True, Verdict.PASS, ""),
    "nothing here knows it": (lambda copy: None, False, Verdict.PASS, "compared with the checksum file beside it"),
    "nothing here knows that it changed": (flip, False, Verdict.FAIL, OTHER),
    "nothing knows it": (
        lambda copy: checksum(copy).unlink(),
        False,
        Verdict.ERROR,
        "it has no checksum file, here or there, to compare it with",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_copy_is_compared_with_what_was_copied(what: str, remote: Remote) -> None:
    change, is_recorded, verdict, detail = CHANGES[what]
    change(remote.directory / remote.names[0])
    if not is_recorded:
        remote.site.place.copies.unlink()
    report = verify_remote(remote.url, remote.site.place, (remote.names[0],), Silent())
    (one,) = report.archives
    assert (one.path, one.verdict, one.detail) == (f"{remote.url}/{remote.names[0]}", verdict, detail)


def test_all_copies_are_verified_and_a_name_that_is_not_there_is_refused(remote: Remote) -> None:
    report = verify_remote(remote.url, remote.site.place, (), Silent())
    assert [Path(one.path).name for one in report.archives] == remote.names[::-1]
    with pytest.raises(UsageError):
        verify_remote(remote.url, remote.site.place, (STRANGE,), Silent())


def test_copies_and_their_record_are_private(remote: Remote) -> None:
    paths = (*remote.directory.iterdir(), remote.site.place.copies)
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
