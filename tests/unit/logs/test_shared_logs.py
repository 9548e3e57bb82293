"""Logs that several services share, and the pace at which logs are kept within their limit."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from toombos_cli.logs import rotation
from toombos_cli.logs.reading import run_logs
from toombos_cli.manifest.tables.logs import Logs
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.service_logs import service_logs
from toombos_cli.project.state import RunDirectory
from toombos_cli.supervisor import log_keeper
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


class Growing:
    """A log that grows by 20 MB for each second of a clock that only the waits and the rotations of its keeper move."""

    def __init__(self, path: Path, rotation_s: float) -> None:
        self.path = path
        self.rotation_s = rotation_s
        self.now = 100.0
        self.largest = 0
        path.touch()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.largest = max(self.largest, size := self.path.stat().st_size + round(20e6 * seconds))
        os.truncate(self.path, size)

    def wait(self, pause_s: float) -> bool:
        """Take the place of the event that ends the keeper: it ends after 10 seconds."""
        self.pass_time(pause_s)
        return self.now > 110


@pytest.mark.parametrize("rotation_s", [0.01, 0.05, 0.1])
def test_a_log_that_grows_by_20_mb_per_second_is_looked_at_often_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rotation_s: float
) -> None:
    growing = Growing(tmp_path / "x.log", rotation_s)

    class SlowLog(rotation.LogFile):
        def rotate(self, settings: Logs, now: float) -> Path | None:
            growing.pass_time(growing.rotation_s)
            return super().rotate(settings, now)

    monkeypatch.setattr(rotation, "LogFile", SlowLog)
    monkeypatch.setattr(log_keeper, "time", SimpleNamespace(monotonic=lambda: growing.now, time=lambda: growing.now))
    keeper = LogKeeper(
        paths=lambda: [str(growing.path)],
        settings=lambda: Logs(max_mb=5, keep=1),
        record_of=lambda path: tmp_path / "x.rotation",
        on_warning=lambda path, warning: None,
        on_new_content=lambda path, cut: None,
        _ended=growing,  # type: ignore[arg-type]
    )
    keeper._keep()
    assert 5e6 * 0.8 < growing.largest < 7.5e6


@pytest.mark.full  # a busy machine or disk may not keep up
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


def test_quiet_logs_are_looked_at_together_with_one_stat_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[tuple[float, str]] = []
    logs = [str(tmp_path / f"{n}.log") for n in range(50)]
    for n, log in enumerate(logs):
        Path(log).write_bytes(b"x\n" * n)
    now = 100.0
    real = os.stat

    def stat(path: str) -> os.stat_result:
        looks.append((now, str(path)))
        return real(path)

    class Clock:
        """Takes the place of the event that ends the keeper: it ends after a minute."""

        def wait(self, pause_s: float) -> bool:
            nonlocal now
            now += pause_s
            return now > 160

    monkeypatch.setattr(log_keeper, "os", SimpleNamespace(stat=stat))
    monkeypatch.setattr(log_keeper, "time", SimpleNamespace(monotonic=lambda: now, time=lambda: now))
    keeper = LogKeeper(
        paths=lambda: logs,
        settings=Logs,
        record_of=lambda path: tmp_path / f"{path.name}.rotation",
        on_warning=lambda path, warning: None,
        on_new_content=lambda path, cut: None,
        _ended=Clock(),  # type: ignore[arg-type]
    )
    keeper._keep()
    late = [(at, log) for at, log in looks if at > 103]
    rounds = {at for at, _ in late}
    assert 50 < len(rounds) <= 60
    assert len(late) == len(set(late)) == len(rounds) * len(logs)
