"""Locks: one process at a time, never stale, never on a file that was removed."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from toombos_cli.base import locks
from toombos_cli.base.errors import LockedError, OperationError

_HOLDER = """
import sys
from pathlib import Path
from toombos_cli.base import locks
with {block}:
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(block: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a process that holds a lock until the block ends."""
    argv = [sys.executable, "-c", _HOLDER.format(block=block)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        if process.stdin:
            process.stdin.close()


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_lock_is_held_until_its_last_descriptor_closes(tmp_path: Path) -> None:
    path = tmp_path / "crm.lock"
    fd = locks.take(path)
    assert fd is not None
    copy = os.dup(fd)
    os.close(fd)
    assert locks.take(path) is None
    os.close(copy)
    again = locks.take(path)
    assert again is not None
    os.close(again)


def test_a_lock_that_a_child_process_inherited_is_held_until_the_child_ends(tmp_path: Path) -> None:
    path = tmp_path / "crm.lock"
    fd = locks.take(path)
    assert fd is not None
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(fd,))
    os.close(fd)
    assert locks.take(path) is None
    child.communicate(b"\n")
    assert not locks.is_held(path)


def test_a_killed_process_loses_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with another_process(f"locks.hold_alone(Path({str(path)!r}), 'backup')") as process:
        assert locks.is_held(path)
        process.kill()
        process.wait()
        assert not locks.is_held(path)


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        pytest.param(locks.hold, locks.hold, False, id="an exclusive lock excludes another one"),
        pytest.param(locks.hold, locks.share, False, id="an exclusive lock excludes shared ones"),
        pytest.param(locks.share, locks.hold, False, id="a shared lock excludes an exclusive one"),
        pytest.param(locks.share, locks.share, True, id="shared locks do not exclude each other"),
    ],
)
@pytest.mark.parametrize("kind", ["a lock file", "a directory"])
def test_only_shared_locks_can_be_held_together(
    tmp_path: Path,
    first: Callable[..., AbstractContextManager[None]],
    second: Callable[..., AbstractContextManager[None]],
    both: bool,
    kind: str,
) -> None:
    path = tmp_path if kind == "a directory" else tmp_path / "lock"
    with first(path):
        assert locks.is_held(path)
        if both:
            with second(path, patience_s=0.05):
                pass
        else:
            with pytest.raises(TimeoutError) as raised, second(path, patience_s=0.05):
                pass
            assert raised.value.filename == str(path)
    assert not locks.is_held(path)
    with second(path, patience_s=0.05):
        pass


def test_a_patient_process_waits_until_the_lock_is_released(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    fd = locks.take(path)
    assert fd is not None
    threading.Timer(0.3, os.close, (fd,)).start()
    started = time.monotonic()
    with locks.hold(path, patience_s=10):
        assert 0.2 < time.monotonic() - started < 5


def test_a_lock_on_a_removed_file_is_taken_again_on_the_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    real, removed = locks.fcntl.flock, []

    def flock(fd: int, operation: int) -> None:
        real(fd, operation)
        if not removed:
            removed.append(path.unlink())  # after the lock is taken, before its name is checked

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    fd = locks.take(path)
    assert fd is not None
    assert locks.is_at(path, fd)
    os.close(fd)


def test_checking_a_lock_never_makes_an_operation_fail(tmp_path: Path) -> None:
    """`schedule show` may check whether a job runs at the moment when cron starts it."""
    path = tmp_path / "job.lock"
    ends = time.monotonic() + 1.0

    def observe() -> None:
        while time.monotonic() < ends:
            locks.is_held(path)
            time.sleep(0.0005)

    observers = [threading.Thread(target=observe) for _ in range(2)]
    for observer in observers:
        observer.start()
    while time.monotonic() < ends:
        with locks.hold_alone(path, "job"):
            pass
    for observer in observers:
        observer.join()


def test_the_error_names_the_process_and_its_operation(tmp_path: Path) -> None:
    path = tmp_path / "run" / "backup.lock"
    with (
        another_process(f"locks.hold_alone(Path({str(path)!r}), 'backup')") as process,
        pytest.raises(LockedError) as raised,
        locks.hold_alone(path, "restore"),
    ):
        pass
    (problem,) = raised.value.problems
    assert problem.message == f"another toombos is at work here: pid {process.pid} (backup)"
    assert problem.hint == f"ps -fp {process.pid}"
    with locks.hold_alone(path, "restore"):
        assert path.read_text() == f"{os.getpid()} restore\n"


@pytest.mark.parametrize("note", [b"", b"\xff\xfe\0", b"none\n"], ids=["empty", "binary", "without a pid"])
def test_the_error_says_how_to_find_the_process_if_the_file_does_not_name_it(tmp_path: Path, note: bytes) -> None:
    path = tmp_path / "lock"
    with locks.hold(path):
        path.write_bytes(note)
        with pytest.raises(LockedError, match="another process") as raised, locks.hold_alone(path, "backup"):
            pass
    assert raised.value.problems[0].hint == f"fuser -v {path}"


def test_a_lock_that_cannot_be_created_is_an_operation_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the directory should be")
    with pytest.raises(OperationError) as raised, locks.hold_alone(tmp_path / "run" / "backup.lock", "backup"):
        pass
    assert str(tmp_path / "run") in str(raised.value.problems[0].where)


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "lock").symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic link"):
        locks.take(tmp_path / "lock")
    assert not elsewhere.exists()


@pytest.mark.parametrize(
    "hold",
    [locks.hold, locks.share, lambda path: locks.hold_alone(path, "backup")],
    ids=["exclusive", "shared", "with a note"],
)
def test_the_directories_that_a_lock_needs_are_private(
    tmp_path: Path, hold: Callable[[Path], AbstractContextManager[None]]
) -> None:
    with hold(tmp_path / "a" / "b" / "lock"):
        pass
    assert [mode_of(tmp_path / "a"), mode_of(tmp_path / "a" / "b")] == [0o700, 0o700]
    assert mode_of(tmp_path / "a" / "b" / "lock") == 0o600


def test_a_shared_lock_needs_no_permission_to_create_its_file(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("nothing can be created below a file")
    with locks.share(tmp_path / "run" / "lock"):
        pass
