"""Logs that several services share, and the pace at which logs are kept within their limit."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from toombos_cli.logs.reading import run_logs
from toombos_cli.manifest.tables.logs import Logs
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.service_logs import service_logs
from toombos_cli.project.state import RunDirectory
from toombos_cli.supervisor.log_keeper import LogKeeper

_WRITER = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
began = time.monotonic()
for first in range(0, 400_000, 500):
    os.write(fd, b"".join(b"%09d " % n + b"x" * 89 + b"\\n" for n in range(first, first + 500)))
    time.sleep(max(0.0, (first + 500) * 100 / 20e6 - (time.monotonic() - began)))
"""


def services(project: Path, **logs: str) -> dict[str, Service]:
    return {
        name: Service(name=name, command=("sleep", "9"), scheme="none", log=str(project / log))
        for name, log in logs.items()
    }


def test_a_shared_log_is_one_log_with_the_names_of_all(tmp_path: Path) -> None:
    (tmp_path / "all.log").write_text("one\ntwo\n")
    (tmp_path / "own.log").write_text("three\n")
    shared = services(tmp_path, web="all.log", other="own.log", worker="all.log")
    logs, strays = service_logs(RunDirectory(tmp_path), shared, None)
    lines = run_logs(logs, count=None).lines
    assert [(line.service, line.line) for line in lines] == [
        ("web+worker", "one"), ("web+worker", "two"), ("other", "three"),
    ]  # fmt: skip
    assert strays == ()


@pytest.mark.parametrize("path", ["all.log", "./all.log", "x/../all.log", "link/all.log"])
def test_all_spellings_of_a_path_have_one_record(tmp_path: Path, path: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    run = RunDirectory(tmp_path)
    assert run.rotation(tmp_path / path) == run.rotation(tmp_path / "all.log")
    assert run.rotation(tmp_path / "x" / "all.log") != run.rotation(tmp_path / "all.log")


def test_a_log_that_grows_by_20_mb_per_second_stays_within_one_and_a_half_times_its_limit(tmp_path: Path) -> None:
    log, largest, ended = tmp_path / "x.log", 0, threading.Event()
    log.touch()
    keeper = LogKeeper(
        paths=lambda: [str(log)],
        settings=lambda: Logs(max_mb=5, keep=1000),
        record_of=lambda path: tmp_path / "x.rotation",
        on_warning=lambda path, warning: None,
        on_new_content=lambda path, cut: None,
    )
    keeper.begin()

    def watch() -> None:
        nonlocal largest
        while not ended.wait(0.002):
            largest = max(largest, log.stat().st_size)

    watcher = threading.Thread(target=watch)
    watcher.start()
    subprocess.run([sys.executable, "-P", "-c", _WRITER, str(log)], check=True)
    ended.set()
    watcher.join()
    keeper.end()
    archives = [path for path in tmp_path.iterdir() if path.name.startswith("x.log.2")]
    assert len(archives) >= 6
    assert largest < 7.5e6
