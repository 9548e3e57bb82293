"""A project's path that is not UTF-8, and requests that no command line sends."""

import contextlib
import os
import socket
from pathlib import Path

import pytest

from tests.faults.conftest import System
from tests.support.runner import run_toombos

PROJECT = b'extends = "monitoring"\n[services.x]\ncommand = ["sleep", "600"]\nscheme = "none"\n'


@pytest.mark.parametrize("method", ["cron", "systemd"])
def test_a_schedule_of_a_path_that_is_not_utf_8_is_printed_or_refused_with_the_reason(tmp_path: Path, method: str):
    project = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    project.mkdir()
    (project / "toombos.toml").write_bytes(PROJECT)
    done = run_toombos("schedule", "install", "--print", "--method", method, cwd=project, errors="replace")
    if method == "systemd":
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 4
        assert "the path is not UTF-8" in done.stderr
        assert "hint: toombos --project $'" in done.stderr


REQUESTS = {
    "more than 16 MiB on one line": b"x" * (17 * 1024 * 1024) + b"\n",
    "no JSON": b"odd\n",
    "thousands of brackets": b"[" * 100_000 + b"\n",
    "a type that does not exist": b'{"type": "Odd"}\n',
    "a number of 5000 digits": b'{"type": "Start", "names": ' + b"9" * 5000 + b"}\n",
}


def test_an_odd_request_on_the_control_socket_gets_an_error_and_leaves_no_traceback(system: System):
    system.add("x")
    system("start", exit_code=0)
    for name, request in REQUESTS.items():
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(system.project / "run" / "supervisor.sock"))
            with contextlib.suppress(ConnectionError):  # the supervisor has read enough of it
                connection.sendall(request)
            assert b'"Broken"' in connection.recv(65536), name
    assert system("status", exit_code=0).stdout
    assert "Traceback" not in (system.project / "run" / "supervisor.log").read_text()
