"""A backup that saves nothing, or less than the manifest asks for, is never reported as good."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Toombos
from tests.support.backup_forge import build
from toombos_cli.backup.archive.format import Entry

SERVICE = '[services.a]\ncommand = ["sleep", "60"]\nscheme = "none"\n'


def write(project: Path, roots: str | None) -> None:
    backup = f"[backup]\nroots = {roots}\n" if roots else ""
    (project / "toombos.toml").write_text(SERVICE + backup)


def envelope(text: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text)
    return document


EMPTY = {
    "every configured root is misspelt": ('["dta"]', "none of the roots exists: dta", "did you mean 'data'?"),
    "the configured root contains only directories": ('["hollow"]', "no files in hollow", "--project DIR"),
    "everything in the roots is excluded": (
        '["data"]\nexclude = ["*"]',
        "nothing to back up",
        "--project DIR",
    ),
}


@pytest.mark.parametrize(("roots", "message", "hint"), EMPTY.values(), ids=EMPTY)
def test_a_backup_fails_and_creates_no_archive_when(
    project: Path, toombos: Toombos, roots: str, message: str, hint: str
) -> None:
    (project / "data").mkdir()
    (project / "data" / "f").write_text("precious")
    (project / "hollow" / "deep").mkdir(parents=True)
    write(project, roots)
    done = toombos("backup")
    assert done.returncode == 1
    assert message in done.stderr
    assert hint in done.stderr
    assert done.stdout == ""
    assert not (project / "backups").exists()
    document = envelope(toombos("backup", "--json").stdout)
    assert (document["verdict"], document["data"]["archive"]) == ("fail", "")
    assert message in document["errors"][0]["message"]
    assert toombos("backup", "status").returncode == 1


def test_a_backup_outside_a_project_fails_and_leaves_nothing_behind(
    tmp_path_factory: pytest.TempPathFactory, toombos: Toombos
) -> None:
    empty = tmp_path_factory.mktemp("empty")
    done = toombos("backup", cwd=empty)
    assert done.returncode == 1
    assert "none of the roots exists: .env" in done.stderr
    assert f"{empty}" in done.stderr
    assert not (empty / "backups").exists()


MISSING = {
    "a sibling has a similar name": ("uploadz", "uploads"),
    "there is no similar name": ("qqq", None),
    "the root is nested": ("data/deap", "data/deep"),
}


@pytest.mark.parametrize(("root", "meant"), MISSING.values(), ids=MISSING)
def test_a_configured_root_that_does_not_exist_makes_the_archive_incomplete_and_is_named_with_the_nearest_name(
    project: Path, toombos: Toombos, root: str, meant: str | None
) -> None:
    for directory in ("data/deep", "uploads"):
        (project / directory).mkdir(parents=True)
    (project / "data" / "f").write_text("precious")
    write(project, f'["data", "{root}", "toombos.toml"]')
    done = toombos("backup")
    assert done.returncode == 4
    assert done.stdout.startswith("ERROR incomplete: ")
    assert f"the root '{root}' does not exist" in done.stderr
    assert ("did you mean" in done.stderr) == (meant is not None)
    assert meant is None or f"did you mean '{meant}'?" in done.stderr
    document = envelope(toombos("backup", "--json").stdout)
    assert (document["verdict"], document["exit_code"]) == ("error", 4)
    (gap,) = document["data"]["gaps"]
    assert (gap["kind"], gap["path"], gap["nearest"]) == ("absent", root, meant)
    assert document["data"]["known_good"] is False


INHERITED = {"the default roots": "", "the packaged manifest's roots": 'extends = "toombos"\n'}


@pytest.mark.parametrize("top", INHERITED.values(), ids=INHERITED)
def test_a_default_root_may_be_absent_without_a_warning(project: Path, toombos: Toombos, top: str) -> None:
    (project / "toombos.toml").write_text(top + SERVICE)
    done = toombos("backup")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("PASS ")
    assert "logs" in envelope(toombos("backup", "--json").stdout)["data"]["absent"]


@pytest.fixture
def empty_archive(tmp_path: Path) -> Path:
    """An archive without files, as older versions created it."""
    directory = Entry(path="data", type="dir", size=0, sha256="", mode=0o755)
    return build(tmp_path / "toombos-20260101T000000Z-abcd.tar.zst", [(directory, b"")])


def test_an_archive_without_files_is_not_known_good_and_displaces_no_archive_with_files(
    project: Path, toombos: Toombos, empty_archive: Path
) -> None:
    (project / "data").mkdir()
    (project / "data" / "f").write_text("precious")
    write(project, '["data"]\n[backup.retention]\nlast = 1\ndaily = 0')
    full = envelope(toombos("backup", "--json").stdout)["data"]["archive"]
    shutil.copy(empty_archive, project / "backups" / empty_archive.name)
    assert toombos("backup", "verify").returncode == 0
    rows = {
        Path(row["path"]).name: row for row in envelope(toombos("backup", "list", "--json").stdout)["data"]["archives"]
    }
    assert (rows[empty_archive.name]["known_good"], rows[empty_archive.name]["problem"]) == (
        False,
        "it contains no files",
    )
    assert "empty" in toombos("backup", "list").stdout
    assert envelope(toombos("backup", "list", "--json").stdout)["verdict"] == "warn"
    assert envelope(toombos("backup", "status", "--json").stdout)["data"]["newest_good"] == full
    toombos("backup", "prune")
    assert Path(full).exists()
    assert not (project / "backups" / empty_archive.name).exists()


@pytest.mark.parametrize("command", [("backup", "drill"), ("backup", "status"), ("restore", "--latest-good", "--yes")])
def test_no_archive_is_good_if_the_only_one_has_no_files(
    project: Path, toombos: Toombos, empty_archive: Path, command: tuple[str, ...]
) -> None:
    write(project, None)
    (project / "backups").mkdir()
    shutil.copy(empty_archive, project / "backups" / empty_archive.name)
    toombos("backup", "verify")
    done = toombos(*command)
    assert done.returncode in (1, 4), done.stdout
    assert "no good archive" in done.stdout + done.stderr or "no archive" in done.stdout + done.stderr


def test_a_drill_of_an_archive_without_files_fails_and_is_not_recorded(
    project: Path, toombos: Toombos, empty_archive: Path
) -> None:
    write(project, None)
    done = toombos("backup", "drill", str(empty_archive))
    assert done.returncode == 1
    assert done.stdout.startswith("FAIL ")
    assert envelope(toombos("backup", "status", "--json").stdout)["data"]["last_drill_at"] is None


EMPTY_ROUNDS = {
    "list": (("backup", "list"), 0, "skip"),
    "prune": (("backup", "prune"), 0, "skip"),
    "verify": (("backup", "verify"), 4, "error"),
    "status": (("backup", "status"), 1, "fail"),
    "recover without an interrupted restore": (("restore", "--recover"), 0, "skip"),
    "logs": (("logs",), 0, "skip"),
    "schedule show": (("schedule", "show"), 0, "skip"),
    "config show": (("config", "show"), 0, "skip"),
}


@pytest.mark.parametrize(("argv", "code", "verdict"), EMPTY_ROUNDS.values(), ids=EMPTY_ROUNDS)
def test_a_command_with_nothing_to_do_says_so(
    project: Path, toombos: Toombos, argv: tuple[str, ...], code: int, verdict: str
) -> None:
    write(project, None)
    document = envelope(toombos(*argv, "--json").stdout)
    assert (document["exit_code"], document["verdict"]) == (code, verdict)
    result = toombos(*argv)
    assert (result.stdout + result.stderr).strip()
