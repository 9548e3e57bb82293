"""What a PostgreSQL server says of itself in its postmaster.pid."""

import os
import threading
from pathlib import Path

import pytest

from toombos_cli.backup.living.base_backup import Postmaster, wait_while_starting
from toombos_cli.base.errors import OperationError


def pid_file(directory: Path, status: str) -> Path:
    path = directory / "postmaster.pid"
    path.write_text(f"42\n{directory}\n1700000000\n5433\n/run/pg\n*\n  5432001  7\n{status:<8}\n")
    return path


@pytest.mark.parametrize(
    ("status", "is_starting"), [("ready", False), ("starting", True), ("standby", False), ("", False)]
)
def test_where_a_server_listens_and_whether_it_is_starting(status: str, is_starting: bool, tmp_path: Path) -> None:
    pid_file(tmp_path, status)
    found = Postmaster(port=5433, hosts=("/run/pg", "localhost"), is_starting=is_starting)
    assert Postmaster.of(os.fsencode(tmp_path)) == found


def test_a_server_that_is_starting_is_waited_for(tmp_path: Path) -> None:
    pid_file(tmp_path, "starting")
    later = threading.Timer(0.3, pid_file, (tmp_path, "ready"))
    later.start()
    wait_while_starting(os.fsencode(tmp_path), 30)
    assert "ready" in (tmp_path / "postmaster.pid").read_text()
    later.join()


def test_a_server_that_starts_for_too_long_is_an_error(tmp_path: Path) -> None:
    pid_file(tmp_path, "starting")
    with pytest.raises(OperationError, match="starting up"):
        wait_while_starting(os.fsencode(tmp_path), 0.1)


def test_a_directory_without_a_server_is_not_waited_for(tmp_path: Path) -> None:
    wait_while_starting(os.fsencode(tmp_path), 30)
