"""Services whose log was moved away, removed or replaced while they run, or never was a file."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.log_rotations import KEEPING_ALL, Rotation, move, truncate
from tests.support.runner import begin_toombos, data_of

TICK = ["sh", "-c", 'n=0; while :; do n=$((n+1)); echo "tick $n"; sleep 0.05; done']


def lose(log: Path) -> None:
    log.unlink()


def replace(log: Path) -> None:
    """As an editor saves a file: a new one takes the name."""
    new = log.with_suffix(".new")
    new.write_text("")
    new.replace(log)


MOVED: dict[str, tuple[Rotation, str]] = {
    "moved": (move, "was moved away: t writes to {log}.1"),
    "moved and created, by logrotate": (KEEPING_ALL["logrotate with create"], "was moved away: t writes to {log}.1"),
    "moved into another directory": (
        lambda log: log.rename(log.parent.parent / "old.log") and None,
        "was moved away: t writes to {project}/old.log",
    ),
    "removed": (lose, "was removed: the output of t is in no file"),
    "replaced": (replace, "was removed: the output of t is in no file"),
}


def ticks(text: str) -> list[int]:
    return [int(line.split()[-1]) for line in text.splitlines() if "tick" in line]


@pytest.mark.parametrize(("change", "said"), MOVED.values(), ids=MOVED.keys())
def test_status_logs_and_diagnose_say_where_the_output_goes_and_logs_show_it(
    system: Any, eventually: Any, change: Callable[[Path], None], said: str
) -> None:
    system.add("t", scheme="none", port=0, command=TICK)
    system("start", exit_code=0)
    log = system.log("t")
    assert system.row("t")["warnings"] == []
    eventually(lambda: len(ticks(log.read_text())) > 3)
    change(log)
    text = said.format(log=log, project=system.project)
    [warning] = system.row("t")["warnings"]
    assert text in warning
    assert "toombos restart t" in warning
    last = ticks(system("logs", exit_code=0).stdout)[-1]
    eventually(lambda: ticks(system("logs", exit_code=0).stdout)[-1] > last)
    shown = system("logs", "-n", "100000", exit_code=0)
    assert ticks(shown.stdout) == list(range(1, len(ticks(shown.stdout)) + 1))
    assert text in shown.stderr
    found = next(f for f in data_of(system("diagnose", "--json"))["findings"] if f["id"] == "log.stray")
    assert (found["verdict"], found["service"]) == ("warn", "t")
    assert "restart t" in found["fix"]["command"]
    system("restart", "t", exit_code=0)
    assert system.row("t")["warnings"] == []
    eventually(lambda: ticks(log.read_text()))


def test_a_service_that_writes_to_a_file_of_its_own_is_not_warned_about(system: Any, eventually: Any) -> None:
    system.add("t", scheme="none", port=0, command=["sh", "-c", "exec >own.log 2>&1; echo own; exec sleep 99"])
    system("start", exit_code=0)
    eventually(lambda: (system.project / "own.log").read_text() == "own\n")
    replace(system.log("t"))
    assert system.row("t")["warnings"] == []


@pytest.mark.parametrize("change", [truncate, move, lose], ids=["truncated", "moved", "removed"])
def test_a_foreground_start_goes_on_showing_each_line_once(
    system: Any, eventually: Any, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    system.add("t", scheme="none", port=0, command=TICK)
    out = tmp_path / "out"
    with out.open("w") as stdout:
        process = begin_toombos("start", "--foreground", cwd=system.project, stdout=stdout, stderr=subprocess.DEVNULL)
    try:
        for _ in range(2):
            seen = len(ticks(out.read_text()))
            eventually(lambda seen=seen: len(ticks(out.read_text())) > seen + 5)
            if system.log("t").exists():
                change(system.log("t"))
    finally:
        process.terminate()
        process.wait(20)
    shown = ticks(out.read_text())
    missing = set(range(1, shown[-1] + 1)) - set(shown)
    assert len(shown) == len(set(shown)), "a line was repeated"
    assert len(missing) <= (4 if change is truncate else 0), "what was unread when the log was emptied is gone"


@pytest.mark.parametrize("broken", ["program", "directory"])
def test_a_restart_that_would_fail_leaves_what_runs(system: Any, tmp_path: Path, broken: str) -> None:
    program, directory = tmp_path / "serve", tmp_path / "there"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    directory.mkdir()
    system.add("t", scheme="none", port=0, command=[str(program)], cwd=str(directory))
    system("start", exit_code=0)
    pid = system.pid("t")
    program.rename(tmp_path / "gone") if broken == "program" else directory.rmdir()
    refused = system("restart", "t", exit_code=4)
    assert "not restarted: t\n" in refused.stdout
    assert str(program if broken == "program" else directory) in refused.stderr
    assert (system.row("t")["phase"], system.pid("t")) == ("ready", pid)


PLACES: dict[str, Callable[[Path], object]] = {
    "a FIFO without a reader": os.mkfifo,
    "a directory": Path.mkdir,
    "a link to a full device": lambda path: path.symlink_to("/dev/full"),
    "a link to a terminal": lambda path: path.symlink_to("/dev/tty"),
}


@pytest.mark.parametrize("make", PLACES.values(), ids=PLACES.keys())
def test_an_odd_thing_in_the_place_of_a_log_stops_no_supervisor(
    system: Any, eventually: Any, make: Callable[[Path], object]
) -> None:
    system.add("t", scheme="none", port=0, command=TICK)
    system.add("well", scheme="none", port=0, command=TICK)
    system("start", exit_code=0)
    log = system.log("t")
    log.unlink()
    make(log)
    eventually(lambda: system.row("t")["warnings"])
    (warning,) = system.row("t")["warnings"]
    assert warning.startswith(f"{log} is a ")
    assert f"the output of t is in no file; remove {log}, then: toombos restart t" in warning
    assert system("logs", "well", exit_code=0).stdout
    for command in (["restart", "t"], ["restart"]):
        refused = system(*command, exit_code=4, timeout_s=30)
        assert "not restarted: t\n" in refused.stdout
        assert str(log) in refused.stderr
    assert [system.row(name)["phase"] for name in ("t", "well")] == ["ready", "ready"]
    found = data_of(system("diagnose", "--json"))["findings"]
    fixes = {f["id"]: str(f["fix"]) for f in found if f["service"] == "t" and f["verdict"] in ("fail", "warn")}
    assert set(fixes) == {"log.tail", "log.stray"}
    assert all(f"remove {log}, then: " in fix for fix in fixes.values())
    log.rmdir() if log.is_dir() and not log.is_symlink() else log.unlink()
    system("restart", "t", exit_code=0)
    assert system.row("t")["warnings"] == []
    system("stop", exit_code=0)


@pytest.mark.parametrize("target", ["/dev/full", "/dev/null", "/dev/stdout"])
def test_a_device_as_a_log_is_refused_at_once(system: Any, target: str) -> None:
    system.add("t", scheme="none", port=0, command=TICK, log=target)
    refused = system("start", timeout_s=30)
    assert refused.returncode in (3, 4, 5), refused.stderr
    assert target in refused.stderr
