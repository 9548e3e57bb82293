"""The history as a file: bounded, private, and never a reason to stop or to wait."""

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import msgspec
import pytest

from toombos_cli.base.own_records import encode_own
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.history import (
    MOST_BYTES,
    MOST_LINES,
    EventKind,
    HistoryEvent,
    HistoryFollower,
    history_path,
    own_restarts,
    read_history,
)
from toombos_cli.project.state import EventReason, FailureKind, Phase, ServiceState
from toombos_cli.supervisor.history_file import HistoryFile
from toombos_cli.supervisor.history_keeper import COMMANDS, FAILURES, HistoryKeeper
from toombos_cli.supervisor.protocol import Request, ServicePlan


def event(number: int = 0, **given: Any) -> HistoryEvent:
    kind = given.pop("event", EventKind.STARTED)
    return HistoryEvent(at_ms=number, event=kind, service=given.pop("service", "crm"), **given)


def line(number: int, **given: Any) -> bytes:
    return encode_own(event(number, **given)) + b"\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir(mode=0o700)
    return tmp_path


def numbers(project: Path) -> list[int]:
    return [found.at_ms for found in read_history(project).events]


LENGTHS: dict[str, tuple[int, str]] = {
    "many short events": (MOST_LINES + 10, ""),
    "few long events": (3000, "x" * 400),
}


@pytest.mark.parametrize(("count", "text"), LENGTHS.values(), ids=LENGTHS)
def test_the_history_keeps_its_newer_half_when_it_becomes_too_long(project: Path, count: int, text: str) -> None:
    file = HistoryFile(history_path(project))
    for number in range(count):
        file.append(event(number, text=text))
    found = history_path(project).stat()
    assert found.st_size <= MOST_BYTES
    assert found.st_mode & 0o777 == 0o600
    kept = numbers(project)
    assert kept == list(range(count - len(kept), count))
    assert MOST_LINES // 4 < len(kept) <= MOST_LINES


FOUND_THERE: dict[str, Callable[[Path], object]] = {
    "a huge file of zeros": lambda path: os.truncate(path, 3 * MOST_BYTES),
    "a long line": lambda path: path.write_bytes(b"x" * 2 * MOST_BYTES),
    "a part of a line": lambda path: path.write_bytes(line(1) + b'{"at_ms": 2, "ev'),
    "lines that are no events": lambda path: path.write_bytes(b"\xff\xfe\n{}\n[]\nnull\n" + line(1)),
    "a readable file": lambda path: path.chmod(0o644),
    "a file that was cut at a line": lambda path: path.write_bytes(line(1)),
}


@pytest.mark.parametrize("prepare", FOUND_THERE.values(), ids=FOUND_THERE)
def test_what_is_found_in_the_file_does_no_harm(project: Path, prepare: Callable[[Path], object]) -> None:
    path = history_path(project)
    path.touch()
    prepare(path)
    file = HistoryFile(path)
    file.append(event(7))
    file.append(event(8))
    assert file.problem is None
    assert numbers(project)[-2:] == [7, 8]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size <= MOST_BYTES


def with_link(path: Path) -> None:
    (path.parent / "other").write_text("keep")
    path.symlink_to("other")


def of_another_user(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give a file away")
    path.touch()
    os.chown(path, 65534, 65534)


IN_ITS_PLACE: dict[str, Callable[[Path], object]] = {
    "another user's file": of_another_user,
    "a link": with_link,
    "a FIFO": os.mkfifo,
    "a directory": Path.mkdir,
}


@pytest.mark.parametrize("prepare", IN_ITS_PLACE.values(), ids=IN_ITS_PLACE)
def test_events_wait_while_something_else_has_the_name(project: Path, prepare: Callable[[Path], object]) -> None:
    path = history_path(project)
    prepare(path)
    file = HistoryFile(path)
    began = time.monotonic()
    file.append(event(1))
    assert file.problem is not None
    assert str(path) in file.problem
    assert len(read_history(project).problems) == 1
    assert time.monotonic() - began < 2
    path.rmdir() if path.is_dir() else path.unlink()
    file.append(event(2))
    assert (file.problem, numbers(project)) == (None, [1, 2])
    assert not (path.parent / "other").exists() or (path.parent / "other").read_text() == "keep"


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let no file grow beyond this size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 10], ids=["none", "for a part of a line"])
def test_events_wait_while_the_disk_is_full(project: Path, room: int) -> None:
    file = HistoryFile(history_path(project))
    file.append(event(1))
    size = history_path(project).stat().st_size
    with full_disk(size + room):
        for number in range(2, 500):
            file.append(event(number))
        assert file.problem is not None
    assert numbers(project) == [1]
    assert history_path(project).stat().st_size == size
    file.write_waiting()
    assert (file.problem, numbers(project)) == (None, [1, *range(300, 500)])


UNREADABLE: dict[str, tuple[bytes, list[int], int]] = {
    "no line": (b"", [], 0),
    "blank lines": (b"\n\n" + line(1) + b"\n", [1], 0),
    "a line of another version": (line(1) + b'{"at_ms": 2, "event": "teleported"}\n', [1], 1),
    "a line that is no JSON": (b"hello\n" + line(1), [1], 1),
    "a time beyond all": (b'{"at_ms": 99999999999999999999, "event": "ready"}\n' + line(1), [1], 1),
    "bytes that are not UTF-8": (b"\xff\xff\n" + line(1), [1], 1),
    "deep JSON": (b"[" * 100_000 + b"\n" + line(1), [1], 1),
    "a line without an end": (line(1) + line(2)[:-1], [1], 0),
}


@pytest.mark.parametrize(("content", "kept", "problems"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_line_that_cannot_be_read_is_left_out(project: Path, content: bytes, kept: list[int], problems: int) -> None:
    history_path(project).write_bytes(content)
    history = read_history(project)
    assert ([found.at_ms for found in history.events], len(history.problems)) == (kept, problems)


def test_without_a_history_there_is_no_event_and_no_problem(tmp_path: Path) -> None:
    assert read_history(tmp_path) == type(read_history(tmp_path))()


def test_texts_that_are_not_utf_8_come_back_as_they_were(project: Path) -> None:
    HistoryFile(history_path(project)).append(event(1, file="a\udcff.py"))
    assert read_history(project).events[0].file == "a\udcff.py"


def test_a_follower_sees_each_event_once_while_the_history_is_shortened(project: Path) -> None:
    file = HistoryFile(history_path(project))
    file.append(event(0))
    follower = HistoryFollower(project)
    seen: list[int] = []
    for number in range(1, MOST_LINES + 1000):
        file.append(event(number))
        if number % 100 == 0:
            seen += [found.at_ms for found in follower.poll()]
    seen += [found.at_ms for found in follower.poll()]
    assert seen == list(range(1, MOST_LINES + 1000))


SECRET = "hunter2-very-secret-9a8b7c"
TEXTS: dict[str, tuple[dict[str, str] | None, str]] = {
    "with its environment": ({"API_TOKEN": SECRET}, "unhealthy"),
    "without a known environment": (None, ""),
}


@pytest.mark.parametrize(("environment", "kept"), TEXTS.values(), ids=TEXTS)
def test_no_secret_of_a_service_reaches_the_history(
    project: Path, environment: dict[str, str] | None, kept: str
) -> None:
    service = Service(name="crm", command=("true",), port=8001)
    plan = environment and ServicePlan(service=service, environment=environment, fingerprint="")
    state = ServiceState(service=service, desired=True, phase=Phase.READY, pid=7)
    unit = SimpleNamespace(name="crm", state=state, plan=plan, ended=None)
    keeper = HistoryKeeper(project)
    keeper.note(unit)  # type: ignore[arg-type]  # the part of a unit that it reads
    unit.state = msgspec.structs.replace(state, phase=Phase.UNHEALTHY, detail=f"unhealthy: token {SECRET} expired")
    keeper.note(unit)  # type: ignore[arg-type]  # as above
    assert SECRET not in history_path(project).read_text()
    last = read_history(project).events[-1]
    assert last.event is EventKind.UNHEALTHY
    assert kept in last.text
    assert bool(last.text) is bool(kept)


def test_every_kind_of_failure_is_a_reason_and_every_request_a_command() -> None:
    """One that is missing would end the supervisor's work at its first event."""
    assert set(FAILURES) == set(FailureKind)
    assert set(COMMANDS) == set(get_args(Request))


RESTARTED: dict[str, tuple[list[tuple[EventKind, EventReason]], int]] = {
    "nothing": ([], 0),
    "a start alone": ([(EventKind.STARTED, EventReason.COMMAND)], 0),
    "two crashes": ([(EventKind.STARTED, EventReason.COMMAND)] + [(EventKind.RESTARTED, EventReason.SIGNAL)] * 2, 2),
    "a crash before a command's restart": (
        [(EventKind.RESTARTED, EventReason.EXIT_CODE), (EventKind.RESTARTED, EventReason.COMMAND)],
        0,
    ),
    "a crash whose start was cut off": ([(EventKind.RESTARTED, EventReason.EXIT_CODE)], 1),
    "other events": ([(EventKind.EXITED, EventReason.SIGNAL), (EventKind.UNHEALTHY, EventReason.UNHEALTHY)], 0),
}


@pytest.mark.parametrize(("found", "count"), RESTARTED.values(), ids=RESTARTED)
def test_the_supervisors_own_restarts_count_from_the_last_command(
    found: list[tuple[EventKind, EventReason]], count: int
) -> None:
    assert len(own_restarts(tuple(event(0, event=kind, reason=reason) for kind, reason in found))) == count


WORDS: dict[str, tuple[HistoryEvent, str]] = {
    "exited, pid 7: exit code 3": (
        event(event=EventKind.EXITED, reason=EventReason.EXIT_CODE, exit_code=3, text="its process", pid=7),
        "exit code 3",
    ),
    "exited: SIGKILL": (event(event=EventKind.EXITED, reason=EventReason.SIGNAL, signal="SIGKILL"), "SIGKILL"),
    "restarted: a.py changed": (
        event(event=EventKind.RESTARTED, reason=EventReason.WATCHED_FILE, file="a.py", text="x"),
        "a.py changed",
    ),
    "stopped by toombos stop (root)": (
        event(event=EventKind.STOPPED, reason=EventReason.COMMAND, by="toombos stop", uid=0),
        "",
    ),
    "gave up: exit code unknown": (event(event=EventKind.GAVE_UP, reason=EventReason.UNKNOWN), "exit code unknown"),
    "ready": (event(event=EventKind.READY), ""),
}


@pytest.mark.parametrize(("found", "why"), WORDS.values(), ids=WORDS)
def test_an_event_reads_as(found: HistoryEvent, why: str, request: pytest.FixtureRequest) -> None:
    assert (str(found), found.why) == (request.node.callspec.id, why)
