"""What others wrote controls no terminal and forges no line, from its real source to the output of each command."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import System
from tests.faults.supervisor.test_proof_of_ownership import SERVER
from tests.support.ports import free_port
from tests.support.runner import begin_toombos
from tests.support.terminal import on_a_terminal
from tests.support.waiting import wait_for
from toombos_cli import processes
from toombos_cli.base.text import folded

HOSTILE = "x\x1b]0;PWNED\x07\x1b[2J\x9b31m\x7f\b\r\nerror: forged\x0b\u2028\u202eend"
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e]")
OURS = re.compile(r"\x1b\[(\?25[hl]|[012]?K|\d*A|[\d;]*m)|\r")
"""What a live line and colours need on a terminal."""
REDIRECTED = (
    "status", "health", "health --verbose", "health --format nagios", "health --format prometheus", "alert status",
    "diagnose", "diagnose --verbose", "diagnose --issue", "diagnose --html report.html", "start", "stop",
)  # fmt: skip
JSON = ("status --json", "health --json", "alert status --json", "diagnose --json", "start --json")
ON_A_TERMINAL = ("status", "health --verbose", "alert status", "diagnose", "start")


@contextlib.contextmanager
def argv(system: System, text: str, *, through: tuple[str, ...] = ()) -> Iterator[None]:
    """A process on the service's port that has the text at the beginning of its argv."""
    system.add("x")
    words = [*through, sys.executable, "-X", text, "-S", "-c", f"{SERVER}serve()", str(system.ports["x"])]
    with subprocess.Popen(words, cwd="/") as squatter:
        try:
            wait_for(lambda: processes.listeners_at("127.0.0.1", system.ports["x"]), within_s=20)
            system("start", exit_code=4)
            yield
        finally:
            squatter.kill()


@contextlib.contextmanager
def argv_of_another_user(system: System, text: str) -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    with argv(system, text, through=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")):
        yield


@contextlib.contextmanager
def alerts(system: System, text: str) -> Iterator[None]:
    """An alert that any user may post to the receiver."""
    port = free_port()
    system.top = f'[services.alerts]\ncommand = ["false"]\nport = {port}\noptional = true\nrole = "monitoring"\n'
    system.add("x", command=["/nonexistent"])
    labels = dict.fromkeys(("alertname", "service", "instance"), text) | {"severity": "P1"}
    annotations = dict.fromkeys(("summary", "description", "command", "runbook"), text)
    body = json.dumps({"alerts": [{"status": "firing", "labels": labels, "annotations": annotations}]}).encode()
    with begin_toombos("alert", "serve", cwd=system.project) as receiver:
        try:
            wait_for(lambda: processes.listeners_at("127.0.0.1", port), within_s=20)
            request = urllib.request.Request(f"http://127.0.0.1:{port}/alertmanager", data=body)
            urllib.request.urlopen(request, timeout=10).close()
            wait_for((system.project / "run" / "alerts" / "ledger.json").exists)
            yield
        finally:
            receiver.terminate()
            receiver.communicate()


@contextlib.contextmanager
def state(system: System, text: str) -> Iterator[None]:
    """A state file with the text in each of its texts for people."""
    system.add("x", command=["/nonexistent"])
    system("start", exit_code=4)
    content = system.state()
    content["services"]["x"] |= {"detail": text, "warnings": [text], "last_lines": [text]}
    content["services"]["x"]["last_end"] = {"at": 1.0, "reason": "limit", "text": text}
    (system.project / "run" / "state.json").write_text(json.dumps(content | {"warnings": [text]}))
    yield


@contextlib.contextmanager
def control_socket(system: System, text: str) -> Iterator[None]:
    """A process of this user at the control socket."""
    system.add("x", command=["/nonexistent"])
    (system.project / "run").mkdir(mode=0o700)
    reply = json.dumps({"type": "Broken", "message": text, "hint": text}).encode() + b"\n"

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(reply)
                    connection.recv(65_536)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(system.project / "run" / "supervisor.sock"))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


Source = Callable[[System, str], contextlib.AbstractContextManager[None]]
SOURCES: dict[str, tuple[Source, set[str]]] = {
    # the source, and commands that show its text
    "the argv of a process on the port": (argv, {"health", "health --format nagios", "diagnose --verbose", "start"}),
    "the argv of another user's process on the port": (argv_of_another_user, {"health", "diagnose --verbose", "start"}),
    "an alert posted to the receiver": (alerts, {"alert status"}),
    "run/state.json": (state, {"status", "diagnose", "diagnose --issue", "diagnose --html report.html"}),
    "a reply on the control socket": (control_socket, {"status", "start", "stop"}),
}


def printed(system: System, command: str) -> str:
    """Return what the command prints, or writes, without a terminal; the text reaches the end of the output."""
    done = system(*command.split())
    report = system.project / "report.html"
    if command.endswith(report.name):
        return report.read_text()
    return done.stdout + done.stderr


@pytest.mark.parametrize(("source", "shown_by"), SOURCES.values(), ids=SOURCES)
def test_a_text_of_others_is_printed_as_one_printable_line(tmp_path: Path, source: Source, shown_by: set[str]) -> None:
    lines: dict[str, list[int]] = {command: [] for command in REDIRECTED}
    outputs: dict[str, str] = {}
    for name, text in (("hostile", HOSTILE), ("trivial", folded(HOSTILE))):
        (tmp_path / name).mkdir()
        system = System(tmp_path / name)
        with source(system, text):
            for command in REDIRECTED:
                outputs[command] = printed(system, command)
                lines[command].append(outputs[command].count("\n"))
                assert not UNPRINTABLE.search(outputs[command]), (command, outputs[command])
            if text is HOSTILE:
                shows_it = {command for command in REDIRECTED if "PWNED" in outputs[command]}
                assert shows_it >= shown_by
                for command in JSON:
                    done = system(*command.split())
                    assert not UNPRINTABLE.search(done.stdout), command
                    assert json.loads(done.stdout)["data"] is not None
                for command in ON_A_TERMINAL:
                    shown = on_a_terminal(*command.split(), cwd=system.project, width=80, env={"TERM": "xterm"})
                    assert not UNPRINTABLE.search(OURS.sub("", shown)), (command, shown)
                    assert not re.search(r"(?m)^error: forged", OURS.sub("", shown)), (command, shown)
    assert {command: both for command, both in lines.items() if both[0] != both[1]} == {}
