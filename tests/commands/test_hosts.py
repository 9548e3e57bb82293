"""`--hosts`: each machine's verdict is its own, also beside one that is down, slow, another one, or lies."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.machines import Machines, three_machines
from tests.support.manifests import toml
from tests.support.runner import begin_toombos, data_of, run_toombos
from tests.support.waiting import wait_for

TOOMBOS = [sys.executable, "-P", "-m", "toombos_cli"]
WELL = {
    "schema_version": 2,
    "command": "status",
    "verdict": "pass",
    "exit_code": 0,
    "data": {"services": [{"name": "web", "phase": "ready"}]},
    "errors": [],
}


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with three_machines() as made:
        started = made.all["a"].toombos("start")
        assert started.returncode == 0, started.stderr
        yield made


def says(document: object, code: int = 0) -> list[str]:
    """Return a program that answers with this document, or with this text."""
    text = document if isinstance(document, str) else json.dumps(document)
    return ["sh", "-c", f'printf "%s\\n" "$0"; exit {code}', text]


def document(**changed: object) -> dict[str, object]:
    return WELL | changed


ESCAPES = document(data={"services": [{"name": "web\x1b[2J", "phase": "ready\x1b]0;x\x07"}]})
SLOW_S = 2.5


@dataclass(frozen=True)
class Odd:
    """A host that is not as it should be: the keys of its table, and what is said of it."""

    keys: dict[str, object]
    state: str
    verdict: str
    said: str = ""


ODD = {
    "no machine has its address": Odd({"address": "10.77.0.9", "connect_timeout_s": 2}, "unreachable", "fail"),
    "nothing listens on its port": Odd({"port": 2222}, "unreachable", "fail"),
    "its name is not known": Odd({"address": "no-such-machine.invalid"}, "unreachable", "fail"),
    "its host key is another one": Odd({"known_hosts": "other_keys"}, "not-judged", "error"),
    "its host key is not known": Odd({"known_hosts": "no_keys"}, "not-judged", "error"),
    "it does not accept the key of the user": Odd({"identity_file": "other_key"}, "not-judged", "error"),
    "it answers late": Odd(
        {"command": ["sh", "-c", f'sleep {SLOW_S}; exec "$@"', "sh", *says(WELL)]}, "answered", "pass"
    ),
    "it answers too late": Odd(
        {"command": ["sleep", "60"], "timeout_s": 1.5}, "not-judged", "error", "no answer within 1.5 s"
    ),
    "toombos is not installed there": Odd({"command": ["no-such-toombos"]}, "not-judged", "error", "cannot be run"),
    "its directory does not exist": Odd({"directory": "/no/such/place"}, "not-judged", "error", "no directory"),
    "its directory holds no project": Odd({"directory": "/usr"}, "not-judged", "error", "no project"),
    "it prints no document": Odd({"command": says("all is well")}, "not-judged", "error", "cannot be used"),
    "it prints nothing": Odd({"command": ["true"]}, "not-judged", "error", "cannot be used"),
    "it prints another command's document": Odd(
        {"command": says(document(command="health"))}, "not-judged", "error", "cannot be used"
    ),
    "it prints another schema": Odd({"command": says(document(schema_version=1))}, "not-judged", "error"),
    "it reports services of another type": Odd(
        {"command": says(document(data={"services": "ready"}))}, "not-judged", "error", "cannot be used"
    ),
    "it says pass and exits with 1": Odd({"command": says(document(exit_code=1), 1)}, "not-judged", "error"),
    "it says fail and exits with 0": Odd({"command": says(document(verdict="fail"))}, "not-judged", "error"),
    "its document names another exit code": Odd(
        {"command": says(document(verdict="fail", exit_code=1), 4)}, "not-judged", "error"
    ),
    "it refuses for safety": Odd(
        {"command": says(document(verdict="error", exit_code=5, data={}, errors=[{"message": "not your project"}]), 5)},
        "answered",
        "error",
        "not your project",
    ),
    "it sends escapes of a terminal": Odd({"command": says(ESCAPES)}, "answered", "pass"),
    "its shared directory has a blank and a quote": Odd({"directory": "it's a shop"}, "answered", "pass"),
}


@pytest.fixture(scope="module")
def asked(machines: Machines) -> dict[str, dict[str, Any]]:
    """Return what is said of every host after one command, by the name of its row or machine."""
    here = machines.directory / "here"
    for name in ("no_keys", "other_keys"):
        (here / name).write_text("")
    key = (machines.directory / "b" / "host_key.pub").read_text()
    (here / "other_keys").write_text(f"10.77.0.1 {key}")
    (here / "other_key").write_bytes((machines.directory / "b" / "host_key").read_bytes())
    (here / "other_key").chmod(0o600)
    tables = [machines.host_table(name, name) for name in "abc"]
    for number, (row, odd) in enumerate(ODD.items()):
        keys = dict(odd.keys)
        if keys.get("directory") == "it's a shop":
            odd_place = machines.directory / "a" / "it's a shop"
            odd_place.mkdir()
            (odd_place / "toombos.toml").write_text("")
            keys |= {"directory": str(odd_place), "command": says(WELL)}
        tables.append(f"# {row}\n" + machines.host_table(f"odd{number}", "a", **keys))
    machines.describe(*tables)
    began = time.monotonic()
    done = machines.toombos("status", "--hosts", "all", "--json")
    took_s = time.monotonic() - began
    found = {host["host"]: host for host in data_of(done)["hosts"]}
    named = {row: found[f"odd{number}"] for number, row in enumerate(ODD)}
    slowest_s = max(host["took_s"] for host in found.values())
    return found | named | {"run": {"exit_code": done.returncode, "took_s": took_s, "slowest_s": slowest_s}}


@pytest.mark.parametrize("row", ODD)
def test_an_odd_host_gets_its_own_verdict(asked: dict[str, dict[str, Any]], row: str) -> None:
    said, odd = asked[row], ODD[row]
    assert (said["state"], said["verdict"]) == (odd.state, odd.verdict), said
    assert odd.said in said["detail"]
    assert odd.verdict == "pass" or said["detail"]


def test_the_others_are_unharmed_and_it_takes_as_long_as_the_slowest(asked: dict[str, dict[str, Any]]) -> None:
    assert (asked["a"]["state"], asked["a"]["verdict"]) == ("answered", "pass")
    assert asked["a"]["data"]["services"][0]["phase"] == "ready"
    assert {(asked[name]["state"], asked[name]["verdict"]) for name in "bc"} == {("answered", "fail")}
    assert asked["run"]["exit_code"] == 1
    assert asked["run"]["took_s"] < asked["run"]["slowest_s"] + 3


def test_a_host_without_toombos_names_the_command_that_installs_it(asked: dict[str, dict[str, Any]]) -> None:
    fix = asked["toombos is not installed there"]["fix"]["command"]
    assert fix.startswith("ssh ")
    assert "pipx install toombos" in fix
    assert "uv tool install toombos" in fix


def test_a_changed_host_key_is_named_in_a_word_with_the_command_to_look_at_it(asked: dict[str, dict[str, Any]]) -> None:
    said = asked["its host key is another one"]
    assert "@@@" not in said["detail"]
    assert said["fix"]["command"].startswith("ssh ")


def test_escapes_of_a_host_do_not_reach_the_terminal(machines: Machines) -> None:
    machines.describe(machines.host_table("odd", "a", command=says(ESCAPES)))
    shown = machines.toombos("status", "--hosts", "odd").stdout
    assert "web" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        pytest.param(("--hosts", "weeb1"), 2, "did you mean 'web1'?", id="a name that is nearly one"),
        pytest.param(("--hosts", ""), 2, "no host", id="no name"),
        pytest.param(("--hosts", "web1", "--watch"), 2, "--watch does not go", id="an option of this terminal"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything(
    tmp_path: Path, toombos: Any, args: tuple[str, ...], code: int, said: str
) -> None:
    (tmp_path / "toombos.toml").write_text(
        '[services.web]\ncommand = ["true"]\nport = 1\n[hosts.web1]\naddress = "127.0.0.1"\n'
    )
    done = toombos("status", *args)
    assert done.returncode == code, done.stderr
    assert said in done.stderr


def test_a_greeting_of_the_login_shell_is_not_taken_for_the_answer(tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text('#!/bin/sh\necho "{Welcome}"\nfor last; do :; done\nexec sh -c "$last"\n')
    (tmp_path / "ssh").chmod(0o755)
    host = f'[hosts.a]\naddress = "x"\ndirectory = {toml(str(tmp_path))}\ncommand = {toml(says(WELL))}\n'
    (tmp_path / "toombos.toml").write_text(f'[services.web]\ncommand = ["true"]\nport = 1\n{host}')
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": str(tmp_path)}
    done = run_toombos("status", "--hosts", "a", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_interrupt_ends_the_wait_for_every_host(tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\ntouch $$.asked\nexec sleep 60\n")
    (tmp_path / "ssh").chmod(0o755)
    hosts = "".join(f'[hosts.h{n}]\naddress = "127.0.0.1"\n' for n in range(2))
    (tmp_path / "toombos.toml").write_text(f'[services.web]\ncommand = ["true"]\nport = 1\n{hosts}')
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": str(tmp_path)}
    with begin_toombos("backup", "--hosts", "all", cwd=tmp_path, env=env) as process:
        asked = wait_for(lambda: len(found := [*tmp_path.glob("*.asked")]) == 2 and found, what="both hosts")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=15) == 130
    wait_for(lambda: not any(Path("/proc", path.stem).exists() for path in asked), what="the end of ssh")


@pytest.mark.full
@pytest.mark.parametrize("command", ["health", "logs", "diagnose", "backup"])
def test_every_command_runs_on_three_machines(machines: Machines, command: str) -> None:
    for machine in machines.all.values():
        assert machine.toombos("start").returncode == 0
    machines.describe(*(machines.host_table(name, name) for name in "abc"))
    extra = ("--bundle", "case.tar.zst") if command == "diagnose" else ()
    done = machines.toombos(command, *extra, "--hosts", "all", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = data_of(done)["hosts"]
    assert [host["host"] for host in found] == ["a", "b", "c"]
    assert {host["state"] for host in found} == {"answered"}
    if command == "diagnose":
        for host in found:
            bundle = machines.directory / "here" / host["bundle"]
            assert bundle.stat().st_mode & 0o777 == 0o600
            read = machines.toombos("diagnose", "--from", bundle)
            assert read.returncode == 0, read.stderr
    if command == "backup":
        archives = [Path(host["data"]["archive"]) for host in found]
        assert all(path.exists() for path in archives)
        assert {path.parents[1] for path in archives} == {m.project for m in machines.all.values()}


@pytest.mark.full
def test_a_connection_is_shared_in_a_private_directory(machines: Machines) -> None:
    machines.describe(machines.host_table("a", "a"))
    log = machines.directory / "a" / "sshd.log"
    assert machines.toombos("status", "--hosts", "a").returncode == 0
    before = log.read_text().count("Accepted publickey")
    assert machines.toombos("status", "--hosts", "a").returncode == 0
    assert log.read_text().count("Accepted publickey") == before
    shared = machines.directory / "s" / f"toombos-ssh-{os.geteuid()}"
    assert shared.stat().st_mode & 0o777 == 0o700
    assert all(socket.stat().st_mode & 0o077 == 0 for socket in shared.iterdir())


@pytest.mark.full
def test_a_machine_that_vanishes_behind_a_shared_connection_is_unreachable(machines: Machines) -> None:
    machines.describe(machines.host_table("b", "b", connect_timeout_s=2), machines.host_table("a", "a"))
    assert machines.toombos("status", "--hosts", "b").returncode in (0, 1)
    machines.link("b", up=False)
    try:
        began = time.monotonic()
        found = {
            host["host"]: host for host in data_of(machines.toombos("status", "--hosts", "all", "--json"))["hosts"]
        }
        assert time.monotonic() - began < 20
    finally:
        machines.link("b", up=True)
    assert (found["b"]["state"], found["b"]["verdict"]) == ("unreachable", "fail")
    assert found["a"]["state"] == "answered"
