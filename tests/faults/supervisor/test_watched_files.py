"""A service restarts when its watched files have changed: once for each burst of changes, also after a broken one."""

import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import System
from tests.support.runner import data_of
from tests.support.waiting import wait_for

APP = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(str(os.getpid()).encode())
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer.allow_reuse_address = True
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
QUIET_S = 0.6
"""Longer than the debounce of 0.1 s and a restart take to begin."""


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(tmp_path_factory.mktemp("watching"))
    write_app(system)
    (system.project / "src" / "node_modules").mkdir()
    (system.project / "conf.toml").write_text("")
    (system.project / "src" / "old.py").write_text("")
    system.add(
        "web",
        command=[sys.executable, "-B", "src/app.py", "{port}"],
        probe_interval_s=0.2,
        watch={"paths": ["src", "conf.toml", "later/**/*.txt"], "ignore": ["*.md"], "debounce_s": 0.1},
    )
    try:
        system("start", exit_code=0)
        wait_until_watched(system)
        yield system
    finally:
        system.clean_up()


def write_app(system: System) -> None:
    (system.project / "src").mkdir(exist_ok=True)
    (system.project / "src" / "app.py").write_text(textwrap.dedent(APP))


def wait_until_watched(system: System) -> None:
    """Change a file until that is noticed: the watch begins a moment after the service is ready."""
    before = restarts(system)

    def noticed() -> bool:
        (system.project / "src" / "first.txt").write_text(str(time.monotonic()))
        time.sleep(0.3)
        return restarts(system) > before

    wait_for(noticed)
    settle(system)


def restarts(system: System) -> int:
    return int(system.state()["services"]["web"]["restarts"])


def settle(system: System) -> int:
    """Wait until the service is ready and stays so; return the number of its restarts."""
    count, since = -1, time.monotonic()
    while time.monotonic() < since + QUIET_S or system.phase("web") != "ready":
        if restarts(system) != count:
            count, since = restarts(system), time.monotonic()
        assert time.monotonic() < since + 20, system.state()["services"]["web"]
        time.sleep(0.02)
    return count


def by_rename(src: Path) -> None:
    (src / ".app.py.tmp").write_text((src / "app.py").read_text() + "\n")
    (src / ".app.py.tmp").replace(src / "app.py")


def by_backup_and_rename(src: Path) -> None:
    text = (src / "app.py").read_text()
    (src / "4913").touch()
    (src / "4913").unlink()
    (src / "app.py").rename(src / "app.py~")
    (src / "app.py").write_text(text)
    (src / "app.py~").unlink()


def many(src: Path) -> None:
    for number in range(100):
        (src / f"module{number}.py").write_text("")


def in_a_new_directory(src: Path) -> None:
    (src / "new" / "deep").mkdir(parents=True)
    (src / "new" / "deep" / "x.py").write_text("")


def replaced_directory(src: Path) -> None:
    copy = src.with_name("copy")
    shutil.copytree(src, copy)
    src.rename(src.with_name("gone"))
    copy.rename(src)
    shutil.rmtree(src.with_name("gone"))


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file is written": (lambda src: (src / "app.py").write_text(textwrap.dedent(APP)), "src/app.py"),
    "a file is saved by a rename": (by_rename, "src/app.py"),
    "a file is saved as vim does": (by_backup_and_rename, "src/app.py"),
    "a file is added": (lambda src: (src / "more.py").touch(), "src/more.py"),
    "a file is removed": (lambda src: (src / "old.py").unlink(), "src/old.py"),
    "a hundred files are written": (many, "src/module"),
    "a file in a new directory": (in_a_new_directory, "src/new"),
    "a file beside the directory": (lambda src: (src.parent / "conf.toml").write_text("a = 1"), "conf.toml"),
    "a directory that is named and did not exist": (
        lambda src: ((src.parent / "later" / "a").mkdir(parents=True), (src.parent / "later" / "a" / "x.txt").touch()),
        "later/a/x.txt",
    ),
    "a file whose name is not UTF-8": (lambda src: Path(os.fsdecode(bytes(src) + b"/\xff.py")).write_text("1"), "src/"),
}


@pytest.mark.parametrize(("change", "named"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_one_restart_that_names_the_file(
    watching: System, change: Callable[[Path], object], named: str
) -> None:
    before = settle(watching)
    change(watching.project / "src")
    wait_for(lambda: restarts(watching) > before)
    assert settle(watching) == before + 1
    row = watching.row("web")
    assert row["last_end"]["reason"] == "watched-file"
    assert row["last_end"]["file"].startswith(named)
    last = [e for e in data_of(watching("events", "web", "--json"))["events"] if e["event"] == "restarted"][-1]
    assert (last["reason"], last["file"], last["by"]) == ("watched-file", row["last_end"]["file"], "supervisor")


NOTHING: dict[str, Callable[[Path], object]] = {
    "a file is read": lambda src: (src / "app.py").read_text(),
    "an ignored file": lambda src: (src / "notes.md").write_text("x"),
    "an installed package": lambda src: (src / "node_modules" / "x.js").write_text("x"),
    "a compiled file": lambda src: (
        (src / "__pycache__").mkdir(exist_ok=True),
        (src / "__pycache__" / "app.pyc").write_text(""),
    ),
    "a file elsewhere": lambda src: (src.parent / "readme.txt").write_text("x"),
    "an empty directory": lambda src: (src / "empty").mkdir(),
}


@pytest.mark.parametrize("change", NOTHING.values(), ids=NOTHING)
def test_what_does_not_count_is_no_restart(watching: System, change: Callable[[Path], object]) -> None:
    before = settle(watching)
    change(watching.project / "src")
    (watching.project / "src" / "counts.txt").write_text(str(time.monotonic()))
    wait_for(lambda: restarts(watching) > before)
    assert settle(watching) == before + 1
    assert watching.row("web")["last_end"]["file"] == "src/counts.txt"


def test_a_broken_file_ends_the_service_and_the_next_one_starts_it_again(watching: System) -> None:
    settle(watching)
    (watching.project / "src" / "app.py").write_text("this is no Python(")
    wait_for(lambda: watching.phase("web") == "failed")
    assert "SyntaxError" in watching("status").stdout
    assert watching.state()["supervisor_pid"] == data_of(watching("status", "--json"))["supervisor"]["pid"]
    write_app(watching)
    wait_for(lambda: watching.phase("web") == "ready")
    assert "app.py changed" in watching("status", exit_code=0).stdout


LATER: dict[str, tuple[Callable[[Path], object], str]] = {
    "a directory that was replaced": (replaced_directory, "app.py"),
    "a directory that is new": (lambda src: (src / "fresh" / "deep").mkdir(parents=True), "fresh/deep/x.py"),
}


@pytest.mark.parametrize(("prepare", "file"), LATER.values(), ids=LATER)
def test_files_are_also_watched_in(watching: System, prepare: Callable[[Path], object], file: str) -> None:
    settle(watching)
    prepare(watching.project / "src")
    before = settle(watching)
    with (watching.project / "src" / file).open("a") as changed:
        changed.write("\n# again\n")
    wait_for(lambda: restarts(watching) > before)
    assert settle(watching) == before + 1


def test_a_stopped_service_is_not_started_by_a_change(watching: System) -> None:
    watching("stop", exit_code=0)
    (watching.project / "src" / "app.py").write_text(textwrap.dedent(APP))
    assert watching.phase("web") == "stopped"
    assert data_of(watching("status", "--json"))["supervisor"]["pid"] is None
    watching("start", exit_code=0)
    wait_until_watched(watching)


LIMITS = {
    "of watches": "echo 1 > /proc/sys/user/max_inotify_watches",
    "of instances": "echo 0 > /proc/sys/user/max_inotify_instances",
}


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_files_are_polled_if_the_kernel_has_reached_its_limit(system: System, limit: str) -> None:
    lower = ("unshare", "-Ur", "sh", "-c", f'{limit} && exec "$@"', "sh")
    if subprocess.run((*lower, "true"), capture_output=True).returncode != 0:
        pytest.skip("this user may not make a user namespace")
    write_app(system)
    (system.project / "src" / "a").mkdir()
    system.add("web", command=[sys.executable, "-B", "src/app.py", "{port}"], watch=["src"])
    system("start", exit_code=0, through=lower)
    wait_for(lambda: "polled every second" in system("status").stderr)
    assert system.phase("web") == "ready"
    wait_until_watched(system)
    assert system.row("web")["last_end"]["file"] == "src/first.txt"


def test_a_directory_that_may_not_be_read_does_no_harm(system: System) -> None:
    write_app(system)
    (system.project / "src" / "closed").mkdir(mode=0o000)
    system.add("web", command=[sys.executable, "-B", "src/app.py", "{port}"], watch=["src"])
    system("start", exit_code=0)
    wait_until_watched(system)
    assert "warning" not in system("status", exit_code=0).stderr
    (system.project / "src" / "closed").chmod(0o700)


MISTAKES: dict[str, tuple[Any, str]] = {
    "an empty table": ({"paths": []}, "paths must name"),
    "an empty pattern": ([""], "a pattern must not be empty"),
    "no pause": ({"paths": ["src"], "debounce_s": 0.0}, "debounce_s must be between"),
}


@pytest.mark.parametrize(("table", "message"), MISTAKES.values(), ids=MISTAKES)
def test_the_loader_refuses_a_watch_that_cannot_work(system: System, table: Any, message: str) -> None:
    system.add("web", watch=table)
    assert message in system("start", exit_code=3).stderr
