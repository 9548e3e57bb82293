"""What a restore changes, keeps and rolls back."""

import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.backup_site import Site
from toombos_cli.base.errors import OperationError, RefusedError, UsageError


def test_a_preview_shows_the_changes_of_the_restore(tmp_path: Path) -> None:
    site = Site(tmp_path).fill("old")
    archive = site.backup().archive
    site.write(".env", "WORD=other")
    site.write("data/added", "x")
    (tmp_path / "logs" / "app.log").unlink()
    before = site.tree()
    preview = site.restore(archive, preview=True)
    assert site.tree() == before
    done = site.restore(archive)
    assert (preview.added, preview.changed, preview.removed) == (("logs/app.log",), (".env",), ("data/added",))
    assert (done.added, done.changed, done.removed) == (preview.added, preview.changed, preview.removed)
    assert preview.safety_backup is None


def test_the_safety_backup_restores_the_previous_state(tmp_path: Path) -> None:
    site = Site(tmp_path).fill("old")
    archive = site.backup().archive
    site.fill("new")
    site.write("data/added", "x")
    before = site.tree()
    report = site.restore(archive)
    assert site.words() == ["old"]
    assert report.safety_backup is not None
    site.restore(report.safety_backup)
    after = site.tree()
    assert {n: f for n, f in after.items() if n != b"data/history.db"} == {
        n: f for n, f in before.items() if n != b"data/history.db"
    }
    assert site.words() == ["old", "new"]


def test_restoring_only_a_path_leaves_everything_else_alone(tmp_path: Path) -> None:
    site = Site(tmp_path).fill("old")
    archive = site.backup().archive
    site.fill("new")
    before = site.tree()
    report = site.restore(archive, only=("data/deep/", ".env"))
    after = site.tree()
    assert report.changed == (".env", "data/deep/note.txt")
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {b".env", b"data", b"data/deep", b"data/deep/note.txt"}
    assert (tmp_path / ".env").read_text() == "WORD=old\n"
    assert site.words() == ["old", "new"]


def test_restoring_only_a_path_creates_its_missing_directory(tmp_path: Path) -> None:
    site = Site(tmp_path).fill("old")
    archive = site.backup().archive
    (tmp_path / "data" / "deep" / "note.txt").unlink()
    (tmp_path / "data" / "deep").rmdir()
    site.restore(archive, only=("data/deep/note.txt",))
    assert (tmp_path / "data" / "deep" / "note.txt").exists()


@pytest.mark.parametrize("path", ["data/deep/nope.txt", "/etc/passwd", "../x", ""])
def test_restoring_only_a_path_that_is_not_in_the_archive_is_a_usage_error(tmp_path: Path, path: str) -> None:
    site = Site(tmp_path).fill()
    archive = site.backup().archive
    with pytest.raises(UsageError):
        site.restore(archive, only=(path,))


def test_live_files_that_no_backup_contains_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exchanging a root keeps excluded directories, old logs and sockets."""
    site = Site(tmp_path, exclude=("data/prometheus",)).fill("old")
    site.scope = replace(site.scope, roots=tuple(replace_log_days(root, 7) for root in site.scope.roots))
    archive = site.backup().archive
    (tmp_path / "data" / "prometheus" / "wal").mkdir(parents=True)
    site.write("data/prometheus/wal/0001", "samples")
    site.write("logs/old.log", "evidence")
    os.utime(tmp_path / "logs" / "old.log", (time.time() - 30 * 86_400,) * 2)
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path / "data")
        listener.bind("s")
    report = site.restore(archive)
    assert set(report.kept) == {"data/s", "data/prometheus", "logs/old.log"}
    assert (tmp_path / "data" / "prometheus" / "wal" / "0001").read_text() == "samples"
    assert (tmp_path / "logs" / "old.log").read_text() == "evidence"
    assert (tmp_path / "data" / "s").is_socket()


def replace_log_days(root: object, days: float) -> object:
    import msgspec

    return msgspec.structs.replace(root, log_days=days) if getattr(root, "path", "") == "logs" else root


class Unhealthy:
    """Running services that do not become healthy with the restored state."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.log: list[str] = []

    def stop(self) -> tuple[str, ...]:
        self.log.append("stop")
        return ("app",)

    def logs_in_use(self) -> frozenset[str]:
        return frozenset()

    def start(self, names: tuple[str, ...]) -> None:
        word = (self._site.project / ".env").read_text()
        self.log.append(f"start {word.strip()}")
        if word == "WORD=old\n":
            raise OperationError("app: exited with 1")


def test_a_restore_is_rolled_back_if_the_services_do_not_become_healthy(tmp_path: Path) -> None:
    site = Site(tmp_path).fill("old")
    archive = site.backup().archive
    site.fill("new")
    before = site.tree()
    services = Unhealthy(site)
    with pytest.raises(OperationError, match=r"did not become healthy.*exited with 1"):
        site.restore(archive, services=services)
    assert site.tree() == before
    assert services.log == ["stop", "start WORD=old", "stop", "start WORD=new"]
    assert not site.place.journal.exists()


def test_a_restore_leaves_the_tree_alone_if_services_cannot_be_stopped(tmp_path: Path) -> None:
    class Stubborn(Unhealthy):
        def stop(self) -> tuple[str, ...]:
            raise RefusedError("will not stop")

    site = Site(tmp_path).fill("old")
    archive = site.backup().archive
    site.fill("new")
    before = site.tree()
    with pytest.raises(RefusedError):
        site.restore(archive, services=Stubborn(site))
    assert site.tree() == before


def test_a_restore_fails_if_there_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(OperationError, match="no good archive"):
        Site(tmp_path).fill().restore()


def test_a_malformed_database_is_saved_unchanged_and_a_restore_replaces_it(tmp_path: Path) -> None:
    site = Site(tmp_path).fill("right")
    archive = site.backup().archive
    path = tmp_path / "data" / "history.db"
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * 3996
    path.write_bytes(content)
    malformed = site.backup()
    assert malformed.databases[0].integrity != "ok"
    assert not malformed.known_good
    report = site.restore(archive)
    assert site.words() == ["right"]
    assert report.safety_backup is not None
    site.restore(report.safety_backup)
    assert path.read_bytes() == bytes(content)


def test_unhealthy_services_that_cannot_be_stopped_keep_the_restored_state(tmp_path: Path) -> None:
    """Exchanging files under running processes would mix the two states."""

    class Stuck(Unhealthy):
        def stop(self) -> tuple[str, ...]:
            if self.log:
                raise OperationError("pid 7 does not end")
            return super().stop()

    site = Site(tmp_path).fill("old")
    archive = site.backup().archive
    site.fill("new")
    with pytest.raises(OperationError, match=r"restored state is in place.*pid 7") as raised:
        site.restore(archive, services=Stuck(site))
    assert (raised.value.problems[0].hint or "").startswith("toombos stop && toombos restore ")
    assert site.words() == ["old"]
    assert site.restore(archive).recovered == "finished"


def test_a_directory_that_cannot_be_listed_makes_the_backup_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path).fill()
    list_directory = os.listdir

    def fail(path: bytes) -> list[bytes]:
        if os.fsencode(path).endswith(b"data/deep"):
            raise OSError(5, "Input/output error")
        return list_directory(path)

    monkeypatch.setattr("os.listdir", fail)
    report = site.backup()
    monkeypatch.undo()
    assert [one.path for one in report.unreadable] == ["data/deep"]
    assert not report.known_good
    site.restore(report.archive)
    assert (tmp_path / "data" / "deep" / "note.txt").exists(), "the restore removed a file that was unreadable"


def test_a_backup_directory_inside_a_root_survives_the_exchange_of_that_root(tmp_path: Path) -> None:
    site = Site(tmp_path).fill("old")
    inside = tmp_path / "data" / "backups"
    site.place = replace(site.place, directory=inside)
    site.scope = replace(site.scope, backup_directory=inside)
    archive = Path(site.backup().archive)
    site.fill("new")
    report = site.restore(archive)
    assert report.safety_backup is not None
    assert archive.exists()
    assert Path(report.safety_backup).exists()
    assert (inside / "latest-good").exists()
    assert site.words() == ["old"]
    assert site.backup().known_good
