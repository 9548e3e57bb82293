"""A backup or restore killed while it has services stopped: it is said everywhere, and the next one starts them."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.foreign import ForeignSystem
from tests.support.runner import begin_toombos, data_of

HOLDER = "import sys, time; f = open(sys.argv[1], 'ab'); time.sleep(9e5)"
KILLER = ["sh", "-c", "test ! -f victim || kill -9 $(cat victim); false"]
"""A stop command that kills the command that stops the service, and leaves the rest to a signal."""


@pytest.fixture(scope="module")
def shop() -> Iterator[ForeignSystem]:
    """Yield a system whose service `store` a backup may stop, with a store in its data, and its archive."""
    system = ForeignSystem(Path(tempfile.mkdtemp(prefix="left-")))
    (system.project / "data" / "kv").mkdir(parents=True)
    for name in ("data.mdb", "lock.mdb"):
        (system.project / "data" / "kv" / name).write_bytes(b"x")
    command = ["{python}", "-c", HOLDER, "{project}/data/kv/data.mdb"]
    system.tables["backup"] = {"after": ["sh", "-c", "echo after >> steps"]}
    system.add("store", command, scheme="none", backup={"stop": True}, stop_command=KILLER, optional=True)
    system.add("other", ["{python}", "-c", "import time; time.sleep(9e5)"], scheme="none")
    system.start("store", "other")
    system("backup", exit_code=0)
    yield system
    system.stop()
    shutil.rmtree(system.project, ignore_errors=True)


def kill_amid(system: ForeignSystem, *argv: str) -> None:
    """Run a toombos command that is killed as soon as it stops the service `store`."""
    system.start("store", "other")
    victim = system.project / "victim"
    through = ["sh", "-c", 'echo $$ > victim; exec "$@"', "sh"]
    with begin_toombos(*argv, cwd=system.project, through=through) as process:
        process.communicate()
    victim.unlink()
    assert process.returncode == -9
    (system.project / "steps").unlink(missing_ok=True)


def phase(system: ForeignSystem, name: str = "store") -> str:
    rows: list[dict[str, Any]] = data_of(system("status", name, "--json"))["services"]
    return str(rows[0]["phase"])


def warnings(system: ForeignSystem) -> str:
    return "\n".join(data_of(system("status", "--json"))["warnings"])


BACKUP, RESTORE = ("backup",), ("restore", "--latest-good", "--yes")
NEXT = {
    "a killed restore, then its end": (RESTORE, ("restore", "--recover")),
    "a killed backup, then a backup": (BACKUP, BACKUP),
    "a killed backup, then a restore": (BACKUP, RESTORE),
    "a killed backup, then the end of a restore": (BACKUP, ("restore", "--recover")),
    "a killed backup, then a recovery": (BACKUP, ("recover",)),
    "a killed restore, then a restore": (RESTORE, RESTORE),
    "a killed restore, then a backup": (RESTORE, BACKUP),
}


@pytest.mark.parametrize(
    "what", [next(iter(NEXT)), *(pytest.param(row, marks=pytest.mark.full) for row in [*NEXT][1:])]
)
def test_the_next_command_starts_what_a_killed_one_had_stopped(what: str, shop: ForeignSystem) -> None:
    killed, following = NEXT[what]
    kill_amid(shop, *killed)
    assert "store" in warnings(shop)
    shop(*following, exit_code=0)
    assert (phase(shop), phase(shop, "other"), "store" in warnings(shop)) == ("ready", "ready", False)


def test_what_a_killed_backup_left_is_said_and_its_hook_runs_later(shop: ForeignSystem) -> None:
    kill_amid(shop, "backup")
    status = shop("backup", "status", "--json", exit_code=1)
    assert ["store" in message for message in data_of(status)["left_undone"]] == [True, False]
    found = {one["id"]: one for one in data_of(shop("diagnose", "--json"))["findings"] if one["verdict"] == "fail"}
    assert found["backup.interrupted"]["service"] == "store"
    assert not (shop.project / "steps").exists()
    report = data_of(shop("backup", "--json", exit_code=0))
    assert (report["resumed"], report["known_good"]) == (["store"], True)
    assert (shop.project / "steps").read_text() == "after\nafter\n"
    assert not (shop.project / "run" / "interruption.json").exists()


@pytest.mark.parametrize("argv", [("stop", "store"), pytest.param(("stop",), marks=pytest.mark.full)])
def test_a_service_that_a_person_stops_stays_stopped(argv: tuple[str, ...], shop: ForeignSystem) -> None:
    kill_amid(shop, "backup")
    shop(*argv, exit_code=0)
    assert "store" not in warnings(shop)
    shop("backup", exit_code=0)
    assert phase(shop) == "stopped"


@pytest.mark.full
def test_a_service_that_does_not_start_again_makes_the_backup_fail(shop: ForeignSystem) -> None:
    kill_amid(shop, "backup")
    before = shop.services["store"]["command"]
    shop.change("store", command=["no-such-program"])
    report = json.loads(shop("backup", "--json", exit_code=4).stdout)["data"]
    assert "store did not start again" in report["resume_problem"]
    shop.change("store", command=before)
    assert "store" in warnings(shop)
    shop("backup", exit_code=0)
    assert phase(shop) == "ready"
