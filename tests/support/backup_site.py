"""A project to back up and restore in tests, and a program that does so in a separate process that can be killed."""

# Names are raw bytes, which pathlib does not accept.
# ruff: noqa: PTH115, PTH118, PTH123, PTH208
import hashlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from toombos_cli.backup.archive.format import Root
from toombos_cli.backup.create import BackupPlan, create_backup
from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.observer import BackupObserver, Silent
from toombos_cli.backup.reports import CreateReport, RestoreReport
from toombos_cli.backup.restore import restore
from toombos_cli.backup.restore_request import RestoreRequest, Services
from toombos_cli.backup.selection import Scope
from toombos_cli.backup.transaction.rollback import settle_restore

ROOTS = (".env", "data", "logs")


class NoServices:
    """A system that toombos does not run: nothing to stop, nothing to start."""

    def stop(self) -> tuple[str, ...]:
        return ()

    def logs_in_use(self) -> frozenset[str]:
        return frozenset()

    def start(self, names: tuple[str, ...]) -> None:
        pass


class Site:
    """A project directory with the roots `.env`, `data` and `logs`."""

    def __init__(self, project: Path, roots: tuple[str, ...] = ROOTS, exclude: tuple[str, ...] = ()) -> None:
        self.project = project
        self.place = Place(project, project / "backups")
        self.scope = Scope(
            project=project,
            roots=tuple(Root(path=path) for path in roots),
            exclude=exclude,
            backup_directory=self.place.directory,
        )

    def fill(self, word: str = "old") -> "Site":
        """Create a small tree with `word` in every file."""
        for directory in ("data/deep", "logs"):
            (self.project / directory).mkdir(parents=True, exist_ok=True)
        self.write(".env", f"WORD={word}\n", mode=0o600)
        self.write("data/deep/note.txt", word * 1000)
        self.write("logs/app.log", f"{word}\n" * 5000)
        with closing(sqlite3.connect(self.project / "data" / "history.db")) as database:
            database.execute("CREATE TABLE IF NOT EXISTS words (word TEXT)")
            database.execute("INSERT INTO words VALUES (?)", (word,))
            database.commit()
        return self

    def write(self, name: str, content: str, *, mode: int = 0o644) -> None:
        path = self.project / name
        path.write_text(content)
        path.chmod(mode)

    def backup(self, observer: BackupObserver | None = None, *, snapshot_deadline_s: float = 60) -> CreateReport:
        plan = BackupPlan(place=self.place, scope=self.scope, snapshot_deadline_s=snapshot_deadline_s)
        return create_backup(plan, observer or Silent())

    def restore(
        self,
        archive: str | Path | None = None,
        *,
        observer: BackupObserver | None = None,
        services: Services | None = None,
        only: tuple[str, ...] = (),
        preview: bool = False,
    ) -> RestoreReport:
        request = RestoreRequest(
            place=self.place,
            scope=self.scope,
            archive=Path(archive) if archive else None,
            only=only,
            preview=preview,
        )
        return restore(request, services or NoServices(), observer or Silent())

    def tree(self) -> dict[bytes, tuple[object, ...]]:
        """Return everything below the project except `backups` and `run`: names, modes, times and contents."""
        return snapshot_tree(self.project, leave_out=(b"backups", b"run"))

    def archives(self) -> dict[str, str]:
        """Return the sha256 of every file with a final archive name."""
        return {p.name: digest(p) for p in sorted(self.place.directory.glob("toombos-*.tar.zst"))}

    def words(self) -> list[str]:
        with closing(sqlite3.connect(self.project / "data" / "history.db")) as database:
            return [row[0] for row in database.execute("SELECT word FROM words ORDER BY rowid")]


def snapshot_tree(top: Path, leave_out: tuple[bytes, ...] = ()) -> dict[bytes, tuple[object, ...]]:
    """Return name -> (type, mode, mtime_ns, content or target, names of the file) for everything below `top`."""
    first: dict[int, bytes] = {}
    found: dict[bytes, tuple[object, ...]] = {}

    def visit(directory: bytes, prefix: bytes) -> None:
        for name in sorted(os.listdir(directory)):
            if not prefix and name in leave_out:
                continue
            path = os.path.join(directory, name)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                found[prefix + name] = ("link", status.st_mtime_ns, os.readlink(path))
            elif stat.S_ISDIR(status.st_mode):
                found[prefix + name] = ("dir", stat.S_IMODE(status.st_mode), status.st_mtime_ns)
                visit(path, prefix + name + b"/")
            elif stat.S_ISREG(status.st_mode):
                mode = stat.S_IMODE(status.st_mode)
                same_as = first.setdefault(status.st_ino, prefix + name) if status.st_nlink > 1 else b""
                found[prefix + name] = ("file", mode, status.st_mtime_ns, digest(path), same_as)
            else:
                kind, mode = stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode)
                found[prefix + name] = (f"special {kind:o}", mode, status.st_mtime_ns)

    visit(os.fsencode(top), b"")
    return found


def digest(path: Path | bytes) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Steps(Silent):
    """A recorder of steps; with `kill_at`, it sends SIGKILL to its own process when that many have started."""

    def __init__(self, kill_at: int = 0) -> None:
        self.names: list[str] = []
        self._kill_at = kill_at

    def step(self, name: str, total_bytes: int = 0) -> None:
        self.names.append(name)
        if len(self.names) == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def run_apart(site: Site, doing: str, *args: object) -> subprocess.Popen[str]:
    """Run `backup KILL_AT`, `restore KILL_AT ARCHIVE` or `recover KILL_AT` in a separate process (0: not killed)."""
    argv = [sys.executable, "-m", "tests.support.backup_site", str(site.project), doing, *map(str, args)]
    return subprocess.Popen(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _main(project: str, doing: str, kill_at: str, archive: str = "") -> None:
    site, observer = Site(Path(project)), Steps(int(kill_at))
    if doing == "backup":
        site.backup(observer)
    elif doing == "restore":
        site.restore(archive, observer=observer)
    elif doing == "recover":
        settle_restore(site.place, observer)


if __name__ == "__main__":
    _main(*sys.argv[1:])
