"""Repeated looks at the processes: what is read, and what is seen."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.support.waiting import wait_for
from toombos_cli import processes
from toombos_cli.processes import linux
from toombos_cli.supervisor.process_look import FamiliarLooks


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of the pids that are read from now on."""
    found: list[int] = []
    real = linux.read_row
    monkeypatch.setattr(linux, "read_row", lambda pid: found.append(pid) or real(pid))
    return found


@pytest.fixture
def leader() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(
        ["sh", "-c", "read x; sleep 60 & wait"], stdin=subprocess.PIPE, start_new_session=True
    ) as shell:
        yield shell
        subprocess.run(["pkill", "-KILL", "-s", str(shell.pid)], check=False)


def test_a_stranger_is_read_once_and_a_new_process_of_a_service_at_the_next_look(
    leader: "subprocess.Popen[bytes]", read: list[int]
) -> None:
    looks = FamiliarLooks()
    stranger = next(row.pid for row in processes.process_table().values() if row.parent not in (0, leader.pid))
    read.clear()
    first = looks.take({leader.pid})
    assert {leader.pid, stranger} <= set(read)
    looks.forget_strangers(first, {leader.pid})
    read.clear()
    assert leader.stdin is not None
    leader.stdin.write(b"\n")
    leader.stdin.flush()
    wait_for(lambda: any(row.parent == leader.pid for row in processes.process_table().values()))
    read.clear()
    second = looks.take({leader.pid})
    assert stranger not in read
    assert any(row.parent == leader.pid for row in second.table.values())


def test_another_leader_makes_the_next_look_read_all(leader: "subprocess.Popen[bytes]", read: list[int]) -> None:
    """It may be a process that an earlier supervisor has left, and that was a stranger until then."""
    looks = FamiliarLooks()
    looks.forget_strangers(looks.take({1}), {1})
    assert leader.pid in looks.take({1, leader.pid}).table
