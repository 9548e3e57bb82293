"""Backups and restores killed at random, in a project with a mounted volume, a PostgreSQL and a running service."""

import json
import logging
import os
import random
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.backup_site import Site
from tests.support.databases import running_postgres
from tests.support.foreign import ForeignSystem
from tests.support.mounts import Mounts, mounts
from tests.support.runner import begin_toombos, data_of
from toombos_cli.backup.mounts import mounts_below
from toombos_cli.backup.postgres import Postgres

LOG = logging.getLogger(__name__)
__all__ = ["mounts"]
TIMES = int(os.environ.get("TOOMBOS_KILLS", "100"))
pytestmark = [pytest.mark.full, pytest.mark.timeout(3600)]


class Project:
    """A project whose every store holds one word: a file, a volume, a SQLite and a PostgreSQL database."""

    def __init__(self, top: Path, port: int, mounts: Mounts) -> None:
        self.system = ForeignSystem(top / "project")
        self.project, self.volume = self.system.project, top / "volume"
        (self.project / "data" / "volume").mkdir(parents=True)
        self.volume.mkdir()
        mounts.bind(self.volume, self.project / "data" / "volume")
        url = f"postgresql://owner@127.0.0.1:{port}/postgres"
        found = Postgres.from_url(url)
        assert found is not None
        self.postgres = found
        self.sql("CREATE TABLE word AS SELECT 'none' AS word")
        (self.project / ".env").write_text(f"DATABASE_URL={url}\n")
        (self.project / ".env").chmod(0o600)
        for number in range(200):
            (self.project / "data" / f"{number}").write_bytes(os.urandom(2000))
        self.system.add("app", ["{python}", "-c", "import time; time.sleep(9e5)"], scheme="none")
        self.system.start()
        self._draw, self._whole_s = random.Random(TIMES), 0.0

    def sql(self, statement: str) -> str:
        return self.postgres._psql(["-c", statement], 60).strip()

    def fill(self, word: str) -> None:
        """Write the word into every store."""
        (self.project / "data" / "word").write_text(word)
        (self.volume / "word").write_text(word)
        with closing(sqlite3.connect(self.project / "data" / "word.db")) as database:
            database.execute("CREATE TABLE IF NOT EXISTS word (word)")
            database.execute("DELETE FROM word")
            database.execute("INSERT INTO word VALUES (?)", (word,))
            database.commit()
        self.sql(f"UPDATE word SET word = '{word}'")  # noqa: S608  (a word of this test)

    def words(self) -> set[str]:
        """Return the words in the stores: one, if none differs from the others."""
        with closing(sqlite3.connect(self.project / "data" / "word.db")) as database:
            (in_sqlite,) = database.execute("SELECT word FROM word").fetchone()
        seen = self.project / "data" / "volume" / "word"
        files = (self.project / "data" / "word", self.volume / "word", seen)
        return {in_sqlite, self.sql("SELECT word FROM word"), *(path.read_text() for path in files)}

    def kill_until_it_dies(self, *argv: str) -> None:
        """Run a toombos command and kill it at a random time of its duration; if it was ready before, do so again."""
        while True:
            started = time.monotonic()
            with begin_toombos(*argv, cwd=self.project) as process:
                try:
                    process.communicate(timeout=self._draw.uniform(0.3, 1.1) * self._whole_s or None)
                    self._whole_s = time.monotonic() - started
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
            if process.returncode == -9:
                return

    def check(self) -> None:
        """Check that the volume is still mounted, and that the service runs."""
        volume = os.fsencode(self.project / "data" / "volume")
        assert mounts_below(volume) == (volume,)
        assert not [path.name for path in self.project.iterdir() if path.name.startswith(".toombos-restore")]
        os.kill(self.system.pid("app"), 0)


@pytest.fixture
def held(mounts: Mounts) -> Iterator[Project]:
    top = Path(tempfile.mkdtemp(prefix="kills-"))
    with running_postgres() as port:
        project = Project(top, port, mounts)
        try:
            yield project
        finally:
            project.system.stop()
    mounts.remove()
    shutil.rmtree(top, ignore_errors=True)


def test_a_backup_killed_at_random_harms_nothing_and_the_next_one_is_good(held: Project) -> None:
    held.fill("one")
    before = Site(held.project, roots=("data", ".env")).tree()
    for _ in range(TIMES):
        held.kill_until_it_dies("backup")
        assert Site(held.project, roots=("data", ".env")).tree() == before
    report = data_of(held.system("backup", "--json", exit_code=0))
    assert report["known_good"]
    listed = json.loads(held.system("backup", "verify", "--json").stdout)["data"]["archives"]
    assert {one["verdict"] for one in listed} == {"pass"}
    assert held.words() == {"one"}
    held.check()
    LOG.info("%s backups were killed", TIMES)


def test_a_restore_killed_at_random_leaves_everything_old_or_everything_new(held: Project) -> None:
    held.fill("old")
    archive = data_of(held.system("backup", "--json", exit_code=0))["archive"]
    seen: Counter[str] = Counter()
    for _ in range(TIMES):
        held.fill("new")
        held.kill_until_it_dies("restore", archive, "--yes")
        held.system("restore", "--recover", exit_code=0)
        (word,) = held.words()
        seen[word] += 1
        held.check()
        LOG.info("%s", dict(seen))
    assert seen.keys() == {"old", "new"}
    LOG.info("%s restores were killed: %s", TIMES, seen)
