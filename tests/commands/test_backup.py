"""`toombos backup` and `toombos restore` as people and scripts call them."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.runner import Toombos
from tests.support.terminal import on_a_terminal


@pytest.fixture
def filled(project: Path) -> Path:
    """A project with a database, a log and settings."""
    (project / "data").mkdir()
    (project / "logs").mkdir()
    (project / "logs" / "app.log").write_text("line\n" * 100)
    (project / ".env").write_text("DRY_RUN_MODE=true\nAPI_KEY=sekret-value\n")
    with closing(sqlite3.connect(project / "data" / "history.db")) as database:
        database.execute("CREATE TABLE generations (id INTEGER)")
        database.execute("INSERT INTO generations VALUES (1)")
        database.commit()
    return project


def envelope(text: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text)
    return document


def test_backup_without_a_subcommand_creates_an_archive_and_reports_it(filled: Path, toombos: Toombos) -> None:
    done = toombos("backup")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PASS ")
    assert "database data/history.db: sound, 1 row in 1 table" in done.stdout
    assert len(list((filled / "backups").glob("toombos-*.tar.zst"))) == 1


QUIET = (["backup"], ["backup", "verify"], ["backup", "drill"], ["restore", "--latest-good", "--yes"])


def test_quiet_prints_only_problems_and_what_was_asked_for(filled: Path, toombos: Toombos) -> None:
    for command in QUIET:
        done = toombos(*command, "--quiet")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    listed = toombos("backup", "list", "--quiet").stdout.splitlines()
    assert len(listed) == 3
    assert listed[0].split() == ["MADE", "(UTC)", "SIZE", "FILES", "STATE", "ARCHIVE"]
    (filled / "logs" / "app.log").unlink()
    (filled / "data" / "history.db").write_bytes(b"SQLite format 3\0 and then nothing of the kind")
    assert "NOT SOUND" in toombos("backup", "--quiet").stdout


def test_create_and_list_print_the_documented_json_keys(filled: Path, toombos: Toombos) -> None:
    made = envelope(toombos("--json", "backup").stdout)
    assert (made["command"], made["verdict"], made["exit_code"]) == ("backup create", "pass", 0)
    assert {"archive", "size_bytes", "files", "duration_s", "verified", "databases"} <= made["data"].keys()
    assert made["data"]["verified"] is True
    assert made["data"]["databases"][0].items() >= {"path": "data/history.db", "integrity": "ok", "rows": 1}.items()
    assert made["data"]["size_bytes"] == Path(made["data"]["archive"]).stat().st_size
    (row,) = envelope(toombos("backup", "list", "--json").stdout)["data"]["archives"]
    assert (
        row.items() >= {"path": made["data"]["archive"], "verified": True, "known_good": True, "pinned": False}.items()
    )
    assert {"created_at", "size_bytes"} <= row.keys()


def test_restore_prints_the_documented_json_keys(filled: Path, toombos: Toombos) -> None:
    archive = envelope(toombos("backup", "--json").stdout)["data"]["archive"]
    (filled / ".env").write_text("CHANGED=1\n")
    done = envelope(toombos("restore", "--latest-good", "--json").stdout)
    assert done["exit_code"] == 0
    data = done["data"]
    assert data["restored_from"] == archive
    assert (data["added"], data["changed"], data["removed"], data["started"]) == ([], [".env"], [], [])
    assert Path(data["safety_backup"]).exists()
    assert "sekret-value" in (filled / ".env").read_text()


@pytest.mark.parametrize("option", ["--preview", "--dry-run"])
def test_a_preview_changes_nothing_and_escapes_unprintable_names(filled: Path, toombos: Toombos, option: str) -> None:
    (filled / "data" / os.fsdecode(b"caf\xe9\n\x1b[31m")).write_text("x")
    archive = toombos("backup").stdout.split()[1]
    (filled / "data" / os.fsdecode(b"caf\xe9\n\x1b[31m")).unlink()
    done = toombos("restore", archive, option)
    assert not (filled / "data" / os.fsdecode(b"caf\xe9\n\x1b[31m")).exists()
    assert "+ data/caf\\xe9\\n\\x1b[31m" in done.stdout
    assert "\x1b" not in done.stdout


def test_latest_good_says_which_archives_it_does_not_take_and_why(filled: Path, toombos: Toombos) -> None:
    taken = envelope(toombos("backup", "--json").stdout)["data"]["archive"]
    toombos("restore", "--latest-good", "--yes")
    emergency = envelope(toombos("backup", "--emergency", "--json").stdout)["data"]["archive"]
    preview = toombos("restore", "--latest-good", "--preview")
    assert preview.stdout.startswith(f"would restore {taken}\n    regular, made 20")
    assert " UTC, " in preview.stdout
    assert " old: 4 files, " in preview.stdout
    assert "rewound to that time: .env, data, logs, toombos.toml" in preview.stdout
    assert ": a safety backup: " in preview.stderr
    assert f"not taken: {Path(emergency).name}: an emergency backup: " in preview.stderr
    data = envelope(toombos("restore", "--latest-good", "--preview", "--json").stdout)["data"]
    assert (data["archive_kind"], data["files"], data["roots"]) == (
        "regular",
        4,
        [".env", "data", "logs", "toombos.toml"],
    )
    assert len(data["not_tried"]) == 2


def test_the_question_shows_the_archive_and_the_changes_before_anything_is_done(filled: Path, toombos: Toombos) -> None:
    archive = envelope(toombos("backup", "--json").stdout)["data"]["archive"]
    (filled / "data" / "new").write_text("n")
    env = {"TOOMBOS_PROJECT": str(filled)}
    shown = on_a_terminal("restore", "--latest-good", cwd=filled, width=100, env=env, until="[y/N]", answer=b"n\n")
    assert archive in shown.replace("\r\n", "")
    assert "- data/new" in shown
    assert f"Restore it over {filled}?" in shown.replace("\r\n", "")
    assert (filled / "data" / "new").exists()


def test_verify_exits_1_for_a_damaged_archive_and_names_it(filled: Path, toombos: Toombos) -> None:
    archive = Path(toombos("backup").stdout.split()[1])
    assert toombos("backup", "verify").returncode == 0
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    done = toombos("backup", "verify")
    assert done.returncode == 1
    assert ["FAIL", str(archive)] in [line.split()[:2] for line in done.stdout.splitlines()]
    assert toombos("restore", str(archive)).returncode == 1
    assert toombos("restore", "--latest-good").returncode == 4
    listed = envelope(toombos("backup", "list", "--json").stdout)["data"]["archives"]
    assert not any(row["known_good"] for row in listed)


def test_status_exits_1_when_there_is_no_recent_backup(filled: Path, toombos: Toombos) -> None:
    none = toombos("backup", "status")
    assert (none.returncode, none.stdout.split()[0]) == (1, "FAIL")
    toombos("backup")
    assert toombos("backup", "status", "--max-age", "26h").returncode == 0
    archive = next((filled / "backups").glob("toombos-*.tar.zst"))
    assert archive.exists()
    late = toombos("backup", "status", "--max-age", "1ms")
    assert late.returncode == 1
    assert "hint: toombos backup" in late.stderr


def test_a_drill_proves_a_restore_and_is_recorded(filled: Path, toombos: Toombos) -> None:
    toombos("backup")
    assert envelope(toombos("backup", "status", "--json").stdout)["data"]["last_drill_at"] is None
    done = toombos("backup", "drill")
    assert done.returncode == 0, done.stderr
    assert "restores" in done.stdout
    assert envelope(toombos("backup", "status", "--json").stdout)["data"]["last_drill_at"]
    assert not list((filled / "backups").glob(".scratch*"))


def test_prune_moves_archives_to_the_trash_but_never_the_last_good_one(filled: Path, toombos: Toombos) -> None:
    with (filled / "toombos.toml").open("a") as file:
        file.write("[backup.retention]\nlast = 1\ndaily = 0\n")
    first = Path(toombos("backup", "--no-prune").stdout.split()[1])
    pinned = Path(toombos("backup", "--no-prune", "--pin").stdout.split()[1])
    last = Path(toombos("backup", "--no-prune").stdout.split()[1])
    preview = toombos("backup", "prune", "--preview")
    assert "would go" in preview.stdout
    assert first.exists()
    assert toombos("backup", "prune").returncode == 0
    assert [path.exists() for path in (first, pinned, last)] == [False, True, True]
    assert len(list((filled / "backups" / ".trash").glob(f"*/{first.name}"))) == 1
    assert toombos("backup", "prune").returncode == 0
    assert last.exists()


def test_a_retention_that_keeps_nothing_is_refused(filled: Path, toombos: Toombos) -> None:
    toombos("backup")
    with (filled / "toombos.toml").open("a") as file:
        file.write("[backup.retention]\nlast = 0\ndaily = 0\n")
    assert toombos("backup", "prune").returncode == 5


def test_an_emergency_backup_works_with_a_broken_manifest(filled: Path, toombos: Toombos) -> None:
    (filled / "toombos.toml").write_text("not = [valid")
    assert toombos("backup").returncode == 3
    done = toombos("backup", "--emergency")
    assert done.returncode == 0, done.stderr
    archive = done.stdout.split()[1]
    (filled / "data" / "history.db").unlink()
    assert toombos("restore", archive, "--only", "data").returncode == 0
    assert (filled / "data" / "history.db").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("restore",), 2),
        (("restore", "nope"), 2),
        (("restore", "x", "--latest-good"), 2),
        (("restore", "toombos.toml"), 1),
        (("restore", "data"), 4),
        (("backup", "verify", "nope"), 2),
        (("backup", "status", "--max-age", "soon"), 2),
        (("backup", "nonsense"), 2),
        (("backup", "drill"), 4),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_input_ends_with_an_exit_code_and_no_traceback(
    filled: Path, toombos: Toombos, arguments: tuple[str, ...], code: int
) -> None:
    done = toombos(*arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")


def test_recover_reports_when_there_is_nothing_to_recover(filled: Path, toombos: Toombos) -> None:
    done = toombos("restore", "--recover")
    assert done.returncode == 0
    assert "no restore was interrupted" in done.stdout


def test_a_restore_stops_and_restarts_the_running_system(filled: Path, toombos: Toombos) -> None:
    started = toombos("start", "--dry-run", timeout_s=120)
    assert started.returncode == 0, started.stderr
    archive = toombos("backup").stdout.split()[1]
    (filled / "data" / "added").write_text("x")
    done = envelope(toombos("restore", archive, "--json", timeout_s=120).stdout)
    assert done["exit_code"] == 0, done
    assert set(done["data"]["started"]) == {"crm", "platform", "generator"}
    assert "data/added" in done["data"]["removed"]
    status = envelope(toombos("status", "--json").stdout)["data"]
    assert status["dry_run"] is True
    assert {row["phase"] for row in status["services"]} == {"ready"}


def test_start_is_refused_after_an_interrupted_restore(project: Path, toombos: Toombos) -> None:
    (project / "run").mkdir(mode=0o700)
    (project / "run" / "restore.json").write_text('{"state": "prepared", "archive": "x", "staging": []}')
    done = toombos("start", "--dry-run")
    assert done.returncode == 5
    assert "a restore was interrupted" in done.stderr
    assert "hint: toombos restore --recover" in done.stderr
    assert not (project / "run" / "state.json").exists()


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_archive_names_in_full(project: Path, toombos: Toombos, width: int) -> None:
    made = json.loads(toombos("backup", "--pin", "--emergency", "--json").stdout)["data"]
    env = {"TERM": "xterm", "NO_COLOR": "1"}
    lines = on_a_terminal("backup", "list", cwd=project, width=width, env=env).splitlines()
    (row,) = (line.rstrip() for line in lines if Path(made["archive"]).name in line)
    assert "emergency, pinned" in row
    assert len(row) <= width


def test_list_marks_an_archive_with_unreadable_files_incomplete_and_a_damaged_one_bad(
    filled: Path, toombos: Toombos
) -> None:
    (filled / "data" / "history.db").write_bytes(b"SQLite format 3\0" + b"junk" * 500)
    incomplete = json.loads(toombos("backup", "--json").stdout)["data"]["archive"]
    damaged = json.loads(toombos("backup", "--json").stdout)["data"]["archive"]
    with Path(damaged).open("r+b") as file:
        file.truncate(Path(damaged).stat().st_size - 1)
    states = {row.split()[-1]: row for row in toombos("backup", "list").stdout.splitlines()}
    assert " incomplete " in states[Path(incomplete).name]
    assert " BAD " in states[Path(damaged).name]


def test_another_projects_backup_directory_is_refused_but_a_moved_projects_is_taken_over(
    filled: Path, toombos: Toombos, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shared = tmp_path_factory.mktemp("shared")
    other = tmp_path_factory.mktemp("other")
    for project in (filled, other):
        manifest = project / "toombos.toml"
        before = manifest.read_text() if manifest.exists() else 'extends = "toombos"\n'
        manifest.write_text(f'{before}[backup]\ndirectory = "{shared}"\n')
    assert toombos("backup").returncode == 0
    for command in (["backup"], ["restore", "--latest-good", "--yes"], ["backup", "prune"], ["backup", "status"]):
        refused = toombos("--project", str(other), *command)
        assert refused.returncode == 5, refused.stderr
        assert f"belongs to another project, {filled}" in refused.stderr
    moved = filled.rename(filled.parent / "moved")
    lost = [word for name in (".env", "data", "logs") for word in ("--accept", name)]  # of the other project
    assert toombos("--project", str(other), "backup", *lost, cwd=other).returncode == 0
    assert toombos("--project", str(moved), "backup", cwd=moved).returncode == 5
    moved.rename(filled)
