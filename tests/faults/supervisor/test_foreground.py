"""`start --foreground` on terminals and in pipes: what it prints, and how it ends."""

import os
import re
import signal
import time
from typing import Any

import pytest

from tests.support.terminal import Session
from tests.support.waiting import wait_for

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
TALKS = "echo hello; exec sleep 60"
ENDS_SLOWLY = "trap 'sleep 1; echo farewell; exit 0' TERM; echo hello; while :; do sleep 0.1; done"
DEAF = "trap '' TERM; echo hello; while :; do sleep 0.1; done"


def workers(system: Any, *, grace_period_s: float = 20.0, **scripts: str) -> None:
    """Write a manifest of workers, each a shell script."""
    lines = ['name = "foreground"']
    for name, script in scripts.items():
        lines += [f"[services.{name}]", f"command = ['sh', '-c', '''{script}''']", "scheme = 'none'"]
        lines += [f"grace_period_s = {grace_period_s}"]
    (system.project / "toombos.toml").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("width", [80, 120])
def test_after_the_table_a_terminal_shows_prefixed_lines_and_a_line_for_each_change(system: Any, width: int) -> None:
    workers(system, crm=TALKS, platform=TALKS, generator=TALKS)
    with Session("start", "--foreground", cwd=system.project, width=width) as terminal:
        terminal.wait_for("SERVICE")
        with system.log("crm").open("a") as log:
            log.write("x" * 200 + "\n")
        terminal.wait_for("x" * 200)
        os.kill(system.pid("platform"), signal.SIGKILL)
        terminal.wait_for("platform  | \x1b[0mhello\n" if "\x1b[0mhello" in terminal.text else "| hello")
        wait_for(lambda: system.came_back("platform"), within_s=30)
        wait_for(lambda: terminal.text.count("platform: ready") == 2)
        terminal.press_ctrl_c()
        assert terminal.wait() == 130
    text = ESCAPES.sub("", terminal.text)
    assert "\x1b" not in text, "a spinner moves and hides the cursor"
    start, _, rest = text.partition("SERVICE")
    assert "started: crm, platform, generator\n" in start
    table, _, lines = rest.partition("\n")[2].partition("\ncrm       | ")
    assert all(len(row) <= width for row in table.splitlines())
    changes = [line for line in lines.splitlines()[1:] if not re.match(r"(crm|platform|generator) +\| ", line)]
    assert changes[0].startswith("platform: starting: its process was ended by SIGKILL; restarting")
    assert changes[1:3] == ["platform: ready", "^C"]
    assert changes[3] == "stopping the services; another Ctrl-C kills them"
    assert sorted(changes[4:]) == ["crm: stopped", "generator: stopped", "platform: stopped"]
    assert system.tagged() == {}


def test_a_second_ctrl_c_kills_what_does_not_end(system: Any) -> None:
    workers(system, deaf=DEAF, crm=TALKS)
    with Session("start", "--foreground", cwd=system.project, width=80) as terminal:
        terminal.wait_for("SERVICE")
        terminal.press_ctrl_c()
        terminal.wait_for("crm: stopped")
        time.sleep(0.6)  # one that comes sooner counts as the first
        began = time.monotonic()
        terminal.press_ctrl_c()
        assert terminal.wait() == 130
    assert time.monotonic() - began < 10
    assert re.search(r"deaf: stopped: killed after [\d.]+ s: pid \d+", terminal.text)
    assert system.tagged() == {}


def test_a_quiet_run_reports_a_forced_kill_and_nothing_else(system: Any) -> None:
    workers(system, grace_period_s=0.4, deaf=DEAF, crm=TALKS)
    with Session("-q", "start", "--foreground", cwd=system.project, width=80) as terminal:
        wait_for(lambda: terminal.text.count("hello") == 2)
        terminal.press_ctrl_c()
        assert terminal.wait() == 130
    said = re.sub(r"(?m)^\w+ +\| hello$|\^C", "", ESCAPES.sub("", terminal.text)).split()
    assert said[:6] == ["deaf:", "stopped:", "killed", "after", "0.4", "s:"], said
    assert "crm:" not in said


def test_a_ctrl_c_that_arrives_twice_at_once_kills_nothing(system: Any) -> None:
    """A wrapper such as npm or make passes on the signal that the terminal sends to both."""
    workers(system, slow=ENDS_SLOWLY)
    with Session("start", "--foreground", cwd=system.project, width=80) as terminal:
        terminal.wait_for("SERVICE")
        terminal.press_ctrl_c()
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 130
    assert "farewell" in terminal.text
    assert "killed" not in terminal.text


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["INT", "TERM", "HUP"]
)
def test_a_signal_during_the_start_stops_everything_in_order(system: Any, number: int, code: int) -> None:
    system.add("crm")
    system.add("slow", env={"START_DELAY_S": "60"}, startup_timeout_s=90.0)
    process = system.begin("start", "--foreground")
    wait_for(lambda: (system.project / "run" / "state.json").exists() and system.phase("crm") == "ready", within_s=30)
    wait_for(lambda: system.pid("slow") != 0)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert "crm: stopped" in err
    assert "slow: stopped" in err
    assert "Traceback" not in out + err
    assert system.tagged() == {}


def test_closing_the_terminal_stops_everything(system: Any) -> None:
    workers(system, crm=TALKS, slow=ENDS_SLOWLY)
    with Session("start", "--foreground", cwd=system.project, width=80) as terminal:
        terminal.wait_for("SERVICE")
        terminal.close()
        assert terminal.wait() == 129
    said = system.log("slow").read_text().splitlines()  # on a busy machine, also that its sleep was terminated
    assert (said[0], said[-1]) == ("hello", "farewell")
    assert system.tagged() == {}


def test_pipes_get_no_control_codes_and_stdout_the_lines_of_the_services_alone(system: Any) -> None:
    workers(system, crm="printf '\\033[31mred\\033[0m\\n'; exec sleep 60", platform=TALKS)
    process = system.begin("start", "--foreground", env={"TERM": "xterm-256color"})
    wait_for(lambda: system.log("crm").exists() and system.state()["services"]["crm"]["phase"] == "ready", within_s=30)
    wait_for(lambda: system.phase("platform") == "ready")
    process.terminate()
    out, err = process.communicate(timeout=30)
    assert sorted(out.splitlines()) == ["crm      | red", "platform | hello"]
    assert "started: crm, platform\nSERVICE" in err
    assert "\x1b" not in err


@pytest.mark.parametrize(
    ("script", "said", "code"),
    [
        ("sleep 1.5; exit 3", "crm: failed: its process ended with exit code 3", 1),
        ("sleep 1.5", "crm: stopped: its process ended with exit code 0", 0),
    ],
    ids=["has failed", "has come to its end"],
)
def test_the_exit_code_says_whether_the_last_service(system: Any, script: str, said: str, code: int) -> None:
    workers(system, crm=script)
    with (system.project / "toombos.toml").open("a") as manifest:
        manifest.write("restart = { policy = 'never' }\n")
    done = system("start", "--foreground", exit_code=code)
    assert done.stderr.splitlines()[-1] == said
