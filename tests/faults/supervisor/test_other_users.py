"""Services that root runs as another user: what they get, what is checked first, and whose process is believed."""

import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.manifests import toml
from tests.support.programs import needs
from tests.support.runner import data_of, run_toombos
from tests.support.waiting import wait_for
from toombos_cli import processes
from toombos_cli.base.accounts import find_account
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.state import run_id_prefix
from toombos_cli.supervisor import account_check

PRINTER = "id -u; id -g; id -G; env | grep -E '^(HOME|USER|LOGNAME|SHELL|OWN)='; exec sleep 600"
# A child that holds nothing of the service but the tag in its environment.
LOSER = "setsid bash -c 'for fd in {{3..99}}; do eval \"exec $fd>&-\"; done; exec sleep 601 >&2' & exec sleep 600"


@pytest.fixture(scope="module", autouse=True)
def as_root() -> None:
    """Skip unless this is root and there is a user nobody."""
    if os.geteuid() != 0 or not any(user.pw_name == "nobody" for user in pwd.getpwall()):
        pytest.skip("needs root, to become another user")


def write(project: Path, **services: dict[str, Any]) -> Path:
    """Write a manifest of workers; `{project}/logs` is only root's."""
    common = {"scheme": "none", "cwd": "/", "grace_period_s": 3, "log": "{project}/logs/{name}.log"}
    tables = {name: common | keys for name, keys in services.items()}
    lines = [f"[services.{name}]\n" + "".join(f"{k} = {toml(v)}\n" for k, v in t.items()) for name, t in tables.items()]
    (project / "toombos.toml").write_text("\n".join(lines))
    return project


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running system with services of nobody, and one of root beside them."""
    project = write(
        tmp_path_factory.mktemp("users"),
        plain={"command": ["sh", "-c", PRINTER], "user": "nobody"},
        grouped={
            "command": ["sh", "-c", PRINTER],
            "user": "65534",
            "group": "daemon",
            "env": {"HOME": "/", "OWN": "1"},
        },
        loser={"command": ["bash", "-c", LOSER], "user": "nobody"},
        root={"command": ["sh", "-c", PRINTER]},
    )
    started = run_toombos("start", cwd=project, env={"HOME": "/root", "USER": "root"})
    assert started.returncode == 0, started.stderr
    yield project
    run_toombos("stop", cwd=project)


def printed(project: Path, name: str) -> list[str]:
    return (project / "logs" / f"{name}.log").read_text().split()


def test_a_service_has_the_ids_and_the_groups_of_its_user(system):
    nobody = find_account("nobody")

    uid, gid, *rest = printed(system, "plain")

    assert (uid, gid) == (str(nobody.uid), str(nobody.gid))
    assert rest[: len(os.getgrouplist("nobody", nobody.gid))] == [str(g) for g in os.getgrouplist("nobody", nobody.gid)]


def test_it_gets_the_variables_that_su_sets(system):
    nobody = find_account("nobody")

    found = set(printed(system, "plain"))

    assert {f"HOME={nobody.home}", f"SHELL={nobody.shell}", "USER=nobody", "LOGNAME=nobody"} <= found


def test_a_number_and_another_group_will_do_and_its_env_wins(system):
    found = printed(system, "grouped")

    assert (found[0], found[1]) == ("65534", str(find_account("nobody", "daemon").gid))
    assert {"HOME=/", "USER=nobody", "OWN=1"} <= set(found)


def test_a_service_without_a_user_stays_as_it_was(system):
    assert printed(system, "root")[0] == "0"
    assert "HOME=/root" in printed(system, "root")


def test_config_show_says_where_they_come_from(system):
    manifest = (system / "toombos.toml").read_text()
    (system / "toombos.toml").write_text(manifest + '[environment.HOME]\ndescription = "home"\ntype = "path"\n')
    try:
        values = data_of(run_toombos("config", "show", "plain", "--json", cwd=system))["values"]
    finally:
        (system / "toombos.toml").write_text(manifest)

    assert [(v["value"], v["source"]) for v in values if v["name"] == "HOME"] == [(find_account("nobody").home, "user")]


def test_its_log_and_its_lock_stay_roots(system):
    for path in (system / "logs" / "plain.log", system / "run" / "state.json"):
        assert (path.stat().st_uid, path.stat().st_mode & 0o077) == (0, 0)


def child_of(project: Path, name: str, command: str) -> int:
    """Return the process of a service that runs this command."""
    tagged = processes.find_tagged(run_id_prefix(project, name), processes.process_table())
    (found,) = [pid for pid in tagged if processes.command_line(pid) == command]
    return found


def runs(pid: int) -> bool:
    row = processes.read_row(pid)
    return row is not None and not row.zombie


def test_after_a_crash_its_processes_are_believed_and_no_others(system):
    """The last test of the module: it ends the system."""
    rows = {row["name"]: row for row in data_of(run_toombos("status", "--json", cwd=system))["services"]}
    supervisor = data_of(run_toombos("status", "--json", cwd=system))["supervisor"]["pid"]
    child = child_of(system, "loser", "sleep 601")
    tag = f"{run_id_prefix(system, 'loser')}{'0' * 12}"
    os.kill(supervisor, signal.SIGKILL)
    os.kill(rows["loser"]["pid"], signal.SIGKILL)
    wait_for(lambda: not runs(rows["loser"]["pid"]))
    become = [needs("setpriv"), "--reuid=1", "--regid=1", "--clear-groups"]
    with subprocess.Popen([*become, "sleep", "602"], env={processes.TAG: tag}) as stranger:
        try:
            health = data_of(run_toombos("health", "plain", "--json", cwd=system))
            assert health["services"][0]["status"] == "up"
            assert run_toombos("stop", cwd=system).returncode == 0
            assert stranger.poll() is None
        finally:
            stranger.kill()
    assert not any(map(runs, (child, *(row["pid"] for row in rows.values()))))


REFUSED = {
    "a user that does not exist": ({"user": "nobdy"}, "its user cannot be chosen: no user is named 'nobdy'"),
    "a number that no user has": ({"user": "54321"}, "no user is named '54321'"),
    "a group that does not exist": ({"user": "nobody", "group": "nogrp"}, "no group is named 'nogrp'"),
    "a directory that it may not enter": (
        {"user": "nobody", "cwd": "{project}"},
        "its user nobody may not enter its directory",
    ),
    "a program that it may not run": ({"user": "nobody", "command": ["{project}/own"]}, "its user nobody may not run"),
    "a stop command that it may not run": (
        {"user": "nobody", "stop_command": ["{project}/own"]},
        "its user nobody may not run",
    ),
}


@pytest.mark.parametrize(("keys", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_work_is_named_before_anything_starts(tmp_path, keys, message):
    tmp_path.chmod(0o700)
    (tmp_path / "own").write_text("#!/bin/sh\nsleep 600\n")
    (tmp_path / "own").chmod(0o700)
    write(tmp_path, well={"command": ["sleep", "600"]}, other={"command": ["sleep", "600"]} | keys)

    failed = run_toombos("start", cwd=tmp_path)

    assert failed.returncode == 4
    assert message in failed.stderr
    assert not (tmp_path / "logs" / "well.log").exists()


def test_only_root_may_choose_another_user(monkeypatch):
    monkeypatch.setattr(account_check.os, "geteuid", lambda: 1000)
    service = Service(name="db", command=("x",), scheme="none", user="nobody", cwd="/")

    failure = account_check.account_failure(service, "/bin/true")

    assert failure is not None
    assert "only root can run it as nobody" in failure.message


def test_an_open_standard_input_never_ends_even_after_the_supervisor(tmp_path):
    read = ["sh", "-c", "cat; echo end of input; exec sleep 600"]
    write(tmp_path, open={"command": read, "stdin": "open", "user": "nobody"}, null={"command": read})
    assert run_toombos("start", cwd=tmp_path).returncode == 0
    try:
        assert "end of input" in (tmp_path / "logs" / "null.log").read_text()
        supervisor = data_of(run_toombos("status", "--json", cwd=tmp_path))["supervisor"]["pid"]
        os.kill(supervisor, signal.SIGKILL)
        assert run_toombos("start", cwd=tmp_path).returncode == 0
        assert "end of input" not in (tmp_path / "logs" / "open.log").read_text()
    finally:
        run_toombos("stop", cwd=tmp_path)
