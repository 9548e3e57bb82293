"""Which files of a service are watched."""

import os
from pathlib import Path

import pytest

from toombos_cli.manifest.tables.watch import WatchTable
from toombos_cli.supervisor.watched_files import WatchedFiles

COUNTS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str, bool]] = {
    "a file that is named": (("app.toml",), (), "app.toml", True),
    "another file": (("app.toml",), (), "app.tomlx", False),
    "a file in a directory that is named": (("src",), (), "src/app.py", True),
    "a file deep in a directory that is named": (("src/",), (), "src/a/b/c.txt", True),
    "a file beside it with the same beginning": (("src",), (), "src2/app.py", False),
    "a directory with a dot": (("./src/.",), (), "src/app.py", True),
    "a pattern in a directory": (("src/*.py",), (), "src/app.py", True),
    "a star does not cross a slash": (("src/*.py",), (), "src/a/app.py", False),
    "two stars stand for no directory": (("src/**/*.py",), (), "src/app.py", True),
    "two stars stand for two directories": (("src/**/*.py",), (), "src/a/b/app.py", True),
    "another ending": (("src/**/*.py",), (), "src/a/app.txt", False),
    "two stars first": (("**/*.py",), (), "a/b/app.py", True),
    "two stars last": (("src/**",), (), "src/a/b", True),
    "a pattern for a directory": (("*/conf.d/*",), (), "a/conf.d/x", True),
    "the second of two": (("a", "b"), (), "b/x", True),
    "the whole project": ((".",), (), "x", True),
    "outside of the project": (("../shared/*.py",), (), "../shared/a.py", True),
    "an absolute path": (("/etc/hosts",), (), "/etc/hosts", True),
    "installed packages": (("src",), (), "src/node_modules/x/index.js", False),
    "installed packages that are named": (("node_modules/x",), (), "node_modules/x/index.js", True),
    "version control": ((".",), (), ".git/index", False),
    "compiled files": (("src",), (), "src/__pycache__/app.cpython-311.pyc", False),
    "a virtual environment": ((".",), (), ".venv/bin/python", False),
    "a cache": ((".",), (), ".mypy_cache/x", False),
    "the files of vim": (("src",), (), "src/.app.py.swp", False),
    "the test file of vim": (("src",), (), "src/4913", False),
    "the backup of an editor": (("src",), (), "src/app.py~", False),
    "the lock of Emacs": (("src",), (), "src/.#app.py", False),
    "what toombos writes": ((".",), (), "run/state.json", False),
    "a log": ((".",), (), "logs/web.log", False),
    "the service's own log elsewhere": ((".",), (), "own.log", False),
    "data": ((".",), (), "data/shop.db", False),
    "data that is named": (("data/rules.json",), (), "data/rules.json", True),
    "data in a directory of the code": (("src",), (), "src/data/x.json", True),
    "an ignored name": (("src",), ("gen",), "src/a/gen/x.py", False),
    "an ignored ending": (("src",), ("*.txt",), "src/a/x.txt", False),
    "an ignored path": (("src",), ("src/gen",), "src/gen/x.py", False),
    "an ignored path elsewhere": (("src",), ("src/gen",), "src/a/src/gen/x.py", True),
    "an ignored path with a slash in front": (("src",), ("/src/gen/",), "src/gen/x.py", False),
    "an ignored pattern": (("src",), ("src/**/*.tmp",), "src/a/b/x.tmp", False),
}


@pytest.fixture(params=["plain", "with [brackets]*", "run"])
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    made = tmp_path / request.param
    made.mkdir()
    return made


def watched(project: Path, paths: tuple[str, ...], ignore: tuple[str, ...] = ()) -> WatchedFiles:
    return WatchedFiles(str(project), WatchTable(paths=paths, ignore=ignore), str(project / "own.log"))


@pytest.mark.parametrize(("paths", "ignore", "path", "counts"), COUNTS.values(), ids=COUNTS)
def test_a_change_counts(
    project: Path, paths: tuple[str, ...], ignore: tuple[str, ...], path: str, counts: bool
) -> None:
    assert watched(project, paths, ignore).counts(os.path.normpath(project / path)) is counts


DIRECTORIES: dict[str, tuple[tuple[str, ...], tuple[str, ...], set[str]]] = {
    "a directory with all below it": (("src",), (), {".", "src", "src/a", "src/a/b"}),
    "a pattern of one level": (("src/*.py",), (), {".", "src"}),
    "a pattern of two levels": (("src/*/*.py",), (), {".", "src", "src/a", "src/node_modules"} - {"src/node_modules"}),
    "a pattern of any level": (("src/**/*.py",), (), {".", "src", "src/a", "src/a/b"}),
    "a file": (("src/a/x.py",), (), {"src/a"}),
    "what does not exist yet": (("src/new/x.py",), (), {"src"}),
    "the project without what toombos and git have": ((".",), (), {".", "src", "src/a", "src/a/b"}),
    "without what is ignored": (("src",), ("src/a",), {".", "src"}),
}


@pytest.mark.parametrize(("paths", "ignore", "found"), DIRECTORIES.values(), ids=DIRECTORIES)
def test_these_directories_are_looked_into(
    project: Path, paths: tuple[str, ...], ignore: tuple[str, ...], found: set[str]
) -> None:
    for name in ("src/a/b", "src/node_modules/x", ".git/objects", "run/services", "logs", "data"):
        (project / name).mkdir(parents=True)
    directories = watched(project, paths, ignore).directories()
    assert {os.path.relpath(directory, project) for directory in directories} == found
