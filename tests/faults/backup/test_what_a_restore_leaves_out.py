"""What an archive holds beyond the data of a project: named in preview and report, and not restored unasked."""

import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.backup_forge import build, file_entry
from tests.support.backup_site import Site
from toombos_cli.backup.archive.format import Entry
from toombos_cli.backup.archive.reader import Archive
from toombos_cli.backup.errors import BadArchiveError
from toombos_cli.base.errors import RefusedError
from toombos_cli.base.results import Verdict

DATA = (Entry(path="data", type="dir", mode=0o2775), b"")
HOOK = [(Entry(path=".git", type="dir", mode=0o755), b""), (file_entry(".git/hook"), b"x")]
STATE = [(Entry(path="run", type="dir", mode=0o755), b""), (file_entry("run/state.json"), b"x")]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "outside" / "project").mkdir(parents=True)
    return Site(tmp_path / "outside" / "project").fill()


def archive_of(site: Site, *members: tuple[Entry, bytes], roots: tuple[str, ...]) -> Path:
    return build(site.project.parent / "theirs.tar.zst", members, roots=roots)


@pytest.mark.parametrize("preview", [True, False], ids=["in the preview", "in the restore"])
@pytest.mark.parametrize(("root", "members"), [(".git", HOOK), ("run", STATE)], ids=[".git", "run"])
def test_a_root_that_no_backup_of_the_project_has_is_named_and_not_restored(
    site: Site, root: str, members: list[tuple[Entry, bytes]], preview: bool
):
    archive = archive_of(site, DATA, (file_entry("data/a"), b"x"), *members, roots=("data", root))
    report = site.restore(archive, preview=preview)
    assert report.not_asked == (root,)
    assert report.verdict is Verdict.WARN
    assert not [name for name in report.added if name.startswith(root)]
    assert (site.project / "data" / "a").exists() is not preview
    assert not (site.project / members[1][0].path).exists()


def test_a_root_that_is_asked_for_is_restored(site: Site):
    archive = archive_of(site, DATA, (file_entry("data/a"), b"x"), *HOOK, roots=("data", ".git"))
    report = site.restore(archive, only=(".git",))
    assert report.not_asked == ()
    assert (site.project / ".git" / "hook").exists()


def test_an_archive_of_only_such_roots_is_refused_with_the_option_that_takes_them(site: Site):
    with pytest.raises(RefusedError) as caught:
        site.restore(archive_of(site, *HOOK, roots=(".git",)))
    assert ".git" in caught.value.problems[0].message
    assert caught.value.problems[0].hint == f"toombos restore {site.project.parent / 'theirs.tar.zst'} --only .git"


BITS = {"setuid": (0o4755, ["the setuid bit"]), "both": (0o6755, ["the setgid bit", "the setuid bit"])}


@pytest.mark.parametrize(("mode", "named"), BITS.values(), ids=BITS)
def test_a_file_never_gets_the_rights_of_its_owner_back(site: Site, mode: int, named: list[str]):
    member = (file_entry("data/tool", b"x", mode=mode), b"x")
    archive = archive_of(site, DATA, member, roots=("data",))
    preview = site.restore(archive, preview=True)
    report = site.restore(archive)
    for found in (preview, report):
        assert sorted(one.what for one in found.not_set if one.path == "data/tool") == named
        assert found.verdict is Verdict.WARN
    assert stat.S_IMODE((site.project / "data" / "tool").stat().st_mode) == 0o755
    assert stat.S_IMODE((site.project / "data").stat().st_mode) == 0o2775, "a directory hands on its group"


def test_a_manifest_of_blanks_costs_no_memory(tmp_path: Path):
    path = build(tmp_path / "bomb.tar.zst", [DATA], manifest=lambda encoded: encoded + b" " * (400 << 20))
    with pytest.raises(BadArchiveError, match="compressed more than a list of files can be"):
        Archive(path)
    code = (
        f"from pathlib import Path; from toombos_cli.backup.archive.reader import Archive; Archive(Path({str(path)!r}))"
    )
    limit = 300 << 20

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    done = subprocess.run([sys.executable, "-c", code], preexec_fn=bounded, capture_output=True, text=True, check=False)
    assert "BadArchiveError" in done.stderr
