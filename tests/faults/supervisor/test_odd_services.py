"""Services that end or fork in unusual ways."""

import os
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.runner import run_toombos
from toombos_cli import processes

WITH_A_STRANGER = """
import os, subprocess, sys
child = subprocess.Popen(["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-S", "-c", sys.argv[2]])
open("stranger.pid", "w").write(str(child.pid))
os.execv(sys.executable, [sys.executable, "-P", sys.argv[1]])
"""


def test_a_service_that_ends_by_a_signal_without_a_name_is_restarted(system: Any, eventually: Any) -> None:
    system.add("crm", restart={"backoff_initial_s": 0.01})
    system("start", exit_code=0)
    os.kill(system.pid("crm"), signal.SIGRTMIN + 6)
    eventually(lambda: system.came_back("crm"))
    assert system.row("crm")["restart_history"][0]["reason"] == f"its process was ended by signal {signal.SIGRTMIN + 6}"


def test_a_process_that_cannot_be_signalled_is_reported_and_does_not_block_other_services(system: Any) -> None:
    """`sudo` is such a process. Here toombos is root without the right to signal processes of other users."""
    without_rights = ["setpriv", "--bounding-set=-kill", "--inh-caps=-kill"]
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    web = str(Path(__file__).parent.parent / "services" / "web.py")
    command = ["{python}", "-P", "-c", WITH_A_STRANGER, web, "import time; time.sleep(60)"]
    system.add("crm", command=command, grace_period_s=0.2)
    system.add("app")

    toombos = partial(run_toombos, cwd=system.project, through=without_rights)

    assert toombos("start").returncode == 0
    stranger = int((system.project / "stranger.pid").read_text())
    stopped = toombos("stop")
    assert stopped.returncode == 4
    assert f"another user's: pid {stranger} (" in stopped.stderr
    assert [row["phase"] for row in system.status()["services"]] == ["failed", "stopped"]
    started = toombos("start", "app")
    assert started.returncode == 0, started.stderr
    assert processes.identify(stranger) is not None, "another user's process was signalled"
    os.kill(stranger, signal.SIGKILL)
    assert toombos("stop").returncode == 0
    assert system.tagged() == {}


@pytest.mark.parametrize(
    "environment", ["kept", "overwritten"], ids=["it keeps its environment", "it overwrites its environment"]
)
def test_a_service_that_daemonizes_is_stopped_with_a_hint_to_run_in_the_foreground(
    system: Any, environment: str
) -> None:
    """A process that overwrites its environment, as nginx does, has no tag by which it can be found."""
    clean = "os.environ.clear(); " if environment == "overwritten" else ""
    port = system.ports["crm"] = free_port()
    going = (
        f"import os, sys; os.fork() and os._exit(0); os.setsid(); {clean}os.environ['PORT'] = '{port}'; "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    web = str(Path(__file__).parent.parent / "services" / "web.py")
    system.add("other")
    system("start", exit_code=0)
    system.add("crm", command=["{python}", "-P", "-c", going, "-P", web])
    failed = system("start", exit_code=4)
    assert "error: crm: its process ended and left pid " in failed.stderr
    assert "hint: run the program in the foreground" in failed.stderr
    with pytest.raises(OSError, match="refused"):
        system.answer("crm")
    assert system.row("other")["phase"] == "ready"
