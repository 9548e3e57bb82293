"""Nobody else's project, run directory, lock or socket is believed, and nobody's own project is refused.

The tests run toombos as root; the stranger is the user nobody.
"""

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.security.conftest import LONG, NOBODY, Site, give
from tests.support.runner import data_of
from tests.support.waiting import wait_for
from toombos_cli.project.state import RunDirectory

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for files and processes of two users")

COMMANDS = (
    "status", "health", "start --plan", "start", "stop", "restart", "logs", "smoke", "diagnose", "config check",
    "config show", "backup", "backup list", "schedule show", "alert status", "recover",
)  # fmt: skip
TALKING = {"status": 5, "start": 5, "start --plan": 5, "stop": 5, "restart": 5, "recover": 5}
"""The commands that send something to a supervisor, with their exit codes."""


def above_in_a_sticky_directory(site: Site) -> None:
    site.top.chmod(0o1777)
    site.write(site.top, owner=NOBODY)
    site.home = site.top / "victim" / "sub"
    site.home.mkdir(parents=True)


def above_in_a_directory_of_the_stranger(site: Site) -> None:
    site.write(site.top)
    give(site.top)
    site.home = site.top / "victim" / "sub"
    site.home.mkdir(parents=True)


def env_file_above(site: Site) -> None:
    site.top.chmod(0o1777)
    site.write(site.top, ".env", owner=NOBODY)
    site.home = site.top / "victim"
    site.home.mkdir()


def example_above(site: Site) -> None:
    (site.top / ".env.example").write_text("A=1\n")
    give(site.top)
    site.home = site.top / "victim"
    site.home.mkdir()


def state_above(site: Site) -> None:
    (site.top / "run").mkdir()
    (site.top / "run" / "state.json").write_text("{}")
    give(site.top)
    site.home = site.top / "victim"
    site.home.mkdir()


def no_project_at_all(site: Site) -> None:
    give(site.top)


def named_by_option(site: Site) -> None:
    project = site.top / "theirs"
    project.mkdir()
    site.write(project)
    give(project)
    site.arguments = ("--project", str(project))


def named_by_environment(site: Site) -> None:
    named_by_option(site)
    site.env = {"TOOMBOS_PROJECT": site.arguments[1]}
    site.arguments = ()


def behind_a_link(site: Site) -> None:
    named_by_option(site)
    (site.top / "link").symlink_to("theirs")
    site.arguments = ("--project", str(site.top / "link"))


def writable_for_everybody(site: Site) -> None:
    site.write(site.top)
    site.top.chmod(0o777)


def sticky_and_our_own(site: Site) -> None:
    site.write(site.top)
    site.top.chmod(0o1777)


def manifest_writable_for_everybody(site: Site) -> None:
    site.write(site.top)
    (site.top / "toombos.toml").chmod(0o666)


def env_file_writable_for_everybody(site: Site) -> None:
    site.write(site.top)
    site.write(site.top, ".env")
    (site.top / ".env").chmod(0o666)


def manifest_of_a_stranger(site: Site) -> None:
    site.write(site.top, owner=NOBODY)


def linked_manifest_of_a_stranger(site: Site) -> None:
    elsewhere = site.top / "elsewhere"
    elsewhere.mkdir()
    site.write(elsewhere)
    give(elsewhere)
    site.home = site.top / "ours"
    site.home.mkdir()
    (site.home / "toombos.toml").symlink_to(elsewhere / "toombos.toml")


def linked_manifest_in_a_directory_of_a_stranger(site: Site) -> None:
    linked_manifest_of_a_stranger(site)
    os.chown(site.top / "elsewhere" / "toombos.toml", 0, 0)


def link_made_by_a_stranger(site: Site) -> None:
    elsewhere = site.top / "elsewhere"
    elsewhere.mkdir()
    site.write(elsewhere)
    (site.top / "toombos.toml").symlink_to(elsewhere / "toombos.toml")
    os.chown(site.top / "toombos.toml", NOBODY, NOBODY, follow_symlinks=False)


def below_a_stranger(site: Site) -> None:
    site.home = site.top / "ours"
    site.home.mkdir()
    site.write(site.home)
    os.chown(site.top, NOBODY, NOBODY)


def below_a_directory_for_everybody(site: Site) -> None:
    below_a_stranger(site)
    os.chown(site.top, 0, 0)
    site.top.chmod(0o777)


def run_of_a_stranger(site: Site) -> None:
    site.write(site.top)
    (site.top / "run").mkdir()
    give(site.top / "run")


def run_writable_for_everybody(site: Site) -> None:
    site.write(site.top)
    (site.top / "run").mkdir()
    (site.top / "run").chmod(0o777)


def run_linked_to_a_stranger(site: Site) -> None:
    site.write(site.top)
    (site.top / "theirs").mkdir()
    give(site.top / "theirs")
    (site.top / "run").symlink_to("theirs")


def state_of_a_stranger(site: Site) -> None:
    site.write(site.top)
    (site.top / "run").mkdir(mode=0o770)
    (site.top / "run" / "state.json").write_text("{}")
    os.chown(site.top / "run" / "state.json", NOBODY, NOBODY)


def alerts_of_a_stranger(site: Site) -> None:
    site.write(site.top)
    (site.top / "run" / "alerts").mkdir(parents=True)
    give(site.top / "run" / "alerts")


PLACES: dict[str, Callable[[Site], None]] = {
    "a stranger's toombos.toml in a sticky directory above": above_in_a_sticky_directory,
    "a stranger's project above": above_in_a_directory_of_the_stranger,
    "a stranger's .env above": env_file_above,
    "a stranger's .env.example above": example_above,
    "a stranger's run/state.json above": state_above,
    "a stranger's directory without a project": no_project_at_all,
    "a stranger's project given by --project": named_by_option,
    "a stranger's project given by TOOMBOS_PROJECT": named_by_environment,
    "a link to a stranger's project": behind_a_link,
    "an own project that everybody may write": writable_for_everybody,
    "an own project in a sticky directory for everybody": sticky_and_our_own,
    "an own toombos.toml that everybody may write": manifest_writable_for_everybody,
    "an own .env that everybody may write": env_file_writable_for_everybody,
    "a stranger's toombos.toml in an own directory": manifest_of_a_stranger,
    "a link to a stranger's toombos.toml": linked_manifest_of_a_stranger,
    "a link into a stranger's directory": linked_manifest_in_a_directory_of_a_stranger,
    "a link that a stranger made": link_made_by_a_stranger,
    "an own project in a stranger's directory": below_a_stranger,
    "an own project in a directory that everybody may write": below_a_directory_for_everybody,
    "a stranger's run/ in an own project": run_of_a_stranger,
    "a run/ that everybody may write": run_writable_for_everybody,
    "a run/ that is a link to a stranger's directory": run_linked_to_a_stranger,
    "a stranger's state.json in an own run/": state_of_a_stranger,
    "a stranger's run/alerts": alerts_of_a_stranger,
}


def refused(done: "subprocess.CompletedProcess[str]") -> str:
    """Return the complaint of a command that was refused for safety and printed nothing else."""
    assert (done.returncode, done.stdout) == (5, ""), (done.stdout, done.stderr)
    assert "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) == 2, done.stderr
    return done.stderr


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_what_others_could_have_written_is_refused_by_every_command(site: Site, place: Callable[[Site], None]) -> None:
    place(site)
    before = site.files()
    refused(site("start"))
    for command in COMMANDS:
        said = refused(site.within(command))
        assert "uid " in said, (command, said)
        assert "mode " in said, (command, said)
        assert "toombos config trust " in said, (command, said)
        assert site.files() == before, command
    assert not site.canary.exists()


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_the_way_on_that_a_refusal_names_works(site: Site, place: Callable[[Site], None]) -> None:
    place(site)
    hint = refused(site.within("status")).partition("toombos config trust ")[2].strip()
    trusted = site.within(f"config trust {hint}")
    assert (trusted.returncode, trusted.stdout) == (0, f"trusted: {hint}\n")
    assert site.within("config check").returncode in (0, 1)
    assert site.within("config trust").stdout == f"DIRECTORY\n{hint}\n"
    assert site.within(f"config trust --remove {hint}").returncode == 0
    refused(site.within("status"))


@pytest.mark.parametrize("place", [no_project_at_all, writable_for_everybody], ids=["a stranger's", "everybody's"])
def test_no_manifest_is_written_to_a_directory_that_others_may_change(
    site: Site, place: Callable[[Site], None]
) -> None:
    place(site)
    (site.top / "toombos.toml").unlink(missing_ok=True)
    refused(site("config init --manifest"))
    assert site.files() == {}


def test_a_manifest_of_ones_own_is_the_way_on_below_a_strangers(site: Site) -> None:
    above_in_a_sticky_directory(site)
    refused(site("status"))
    assert site("config init --manifest").returncode == 0
    assert site("start --plan").returncode == 0


def test_a_command_line_is_not_completed_from_a_strangers_project(site: Site) -> None:
    above_in_a_sticky_directory(site)
    complete = {"_TOOMBOS_COMPLETE": "complete_bash", "COMP_WORDS": "toombos stop x", "COMP_CWORD": "2"}
    site.env |= complete
    assert site("").stdout.strip() == ""


LINKS = (
    "state.json", "state.json.bak", "supervisor.lock", "supervisor.log", "supervisor.sock", "smoke.lock",
    "backup.lock", "recover.lock", "restore.json", "x.lock", "x.rotation", "x.rotation-lock", ".state.json.partial",
    "alerts/spool.jsonl", "alerts/sender.lock", "alerts/ledger.json", "schedule/health.lock", "schedule/health.json",
    "schedule/installed", "services/x.lock", "services/x.rotation", "services/x.rotation-lock",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["a link to nothing", "a link to a file", "a FIFO"])
@pytest.mark.parametrize("name", LINKS)
def test_nothing_is_read_or_written_through_a_link_in_run(site: Site, name: str, kind: str) -> None:
    site.write(site.top)
    place = site.top / "run" / name
    place.parent.mkdir(parents=True)
    if kind == "a FIFO":
        os.mkfifo(place)
    else:
        place.symlink_to(site.top / "elsewhere")
    if kind == "a link to a file":
        (site.top / "elsewhere").write_text("kept as it is")
    before = site.files()
    for command in ("status", "logs", "smoke", "start", "stop", "alert status"):
        said = refused(site.within(command))
        assert str(place) in said
        assert "config trust" not in said
        assert f"hint: rm {place}" in said
        assert site.files() == before, command
    assert not site.canary.exists()


@pytest.mark.parametrize("name", ["state.json.new", "current", "app.sock", "app.pid"])
def test_a_link_that_has_no_name_of_toombos_stays_unused_and_does_no_harm(site: Site, name: str) -> None:
    site.write(site.top)
    (site.top / "run").mkdir()
    (site.top / "run" / name).symlink_to(site.top / "elsewhere")
    assert site("start").returncode == 0
    assert site("status").returncode == 0
    assert site("stop").returncode == 0
    assert not (site.top / "elsewhere").exists()


@pytest.mark.parametrize("kind", ["a link", "a FIFO"])
@pytest.mark.parametrize("log", ["x", "alerts", "health-check", "schedule"])
def test_no_log_is_written_or_read_through_a_link(site: Site, log: str, kind: str) -> None:
    site.write(site.top)
    (site.top / "logs").mkdir()
    if kind == "a FIFO":
        os.mkfifo(site.top / "logs" / f"{log}.log")
    else:
        (site.top / "elsewhere").write_text("a secret of root\n")
        (site.top / "logs" / f"{log}.log").symlink_to(site.top / "elsewhere")
    for command in (
        "logs",
        "start",
        "health --log",
        "alert send noise",
        "alert deliver",
        "stop",
    ):
        done = site(command)
        assert "a secret of root" not in done.stdout + done.stderr, command
        assert "Traceback" not in done.stderr, command
    if kind == "a link":
        assert (site.top / "elsewhere").read_text() == "a secret of root\n"


@pytest.mark.parametrize("command", TALKING)
def test_nothing_is_sent_to_a_strangers_process_and_nothing_of_its_reply_is_printed(
    site: Site, hostile: Callable[[Path], Callable[[], bytes]], command: str
) -> None:
    site.write(site.top)
    site.write(site.top, ".env")
    (site.top / "run").mkdir(mode=0o700)
    heard = hostile(site.top / "run" / "supervisor.sock")
    done = site(command)
    said = done.stdout + done.stderr
    assert done.returncode == TALKING[command], said
    assert "uid 65534" in said
    wait_for(lambda: b"connected" in heard())
    assert heard().replace(b"connected\n", b"") == b""
    assert not any(word in said for word in ("PWNED", "curl", "\x1b"))
    assert not site.canary.exists()


SOCKET_DIRECTORIES: dict[str, Callable[[Path, int], None]] = {
    "of a stranger": lambda path, user: (path.mkdir(mode=0o755), os.chown(path, NOBODY, NOBODY))[1],
    "of a stranger and private": lambda path, user: (path.mkdir(mode=0o700), os.chown(path, NOBODY, NOBODY))[1],
    "of this user and open": lambda path, user: (path.mkdir(), os.chown(path, user, user), path.chmod(0o755))[2],
    "a stranger's link": lambda path, user: (
        path.symlink_to("/var"),
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False),
    )[1],
    "a file": lambda path, user: path.touch(),
}


@pytest.mark.parametrize("kind", SOCKET_DIRECTORIES.values(), ids=SOCKET_DIRECTORIES)
def test_a_directory_for_sockets_that_a_stranger_could_have_made_is_refused(
    site: Site, another: Path, kind: Callable[[Path, int], None]
) -> None:
    kind(another, site.home.stat().st_uid)
    before = sorted(site.home.iterdir())
    for command in ("status", "stop", "restart"):
        said = refused(site(command))
        assert str(another) in said
        assert "uid " in said
        assert "mode " in said
        assert "config trust" not in said
    assert sorted(site.home.iterdir()) == before
    assert not site.canary.exists()


def test_a_project_with_a_long_path_has_its_socket_in_a_private_directory(site: Site) -> None:
    site.home = site.top / LONG
    site.home.mkdir()
    site.write(site.home)
    socket = RunDirectory(site.home).socket
    assert not socket.is_relative_to(site.home)
    assert site("start").returncode == 0
    try:
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        assert site("status").returncode == 0
    finally:
        assert site("stop").returncode == 0


def plain(site: Site) -> None:
    site.write(site.top)


def shared_by_umask_002(site: Site) -> None:
    site.write(site.top)
    (site.top / "toombos.toml").chmod(0o664)
    site.top.chmod(0o775)


def shared_by_a_group(site: Site) -> None:
    shared_by_umask_002(site)
    site.top.chmod(0o2775)
    os.chown(site.top, 0, NOBODY)


def linked_to_own_files(site: Site) -> None:
    elsewhere = site.top / "dotfiles"
    elsewhere.mkdir()
    site.write(elsewhere)
    site.write(elsewhere, ".env")
    (elsewhere / ".env").write_text("A=1\n")
    (elsewhere / ".env").chmod(0o600)
    site.home = site.top / "ours"
    site.home.mkdir()
    (site.home / "toombos.toml").symlink_to("../dotfiles/toombos.toml")
    (site.home / ".env").symlink_to("../dotfiles/.env")


def mounted_like_a_config_map(site: Site) -> None:
    data = site.top / "..2026_11_28"
    data.mkdir()
    site.write(data)
    (site.top / "..data").symlink_to(data.name)
    (site.top / "toombos.toml").symlink_to("..data/toombos.toml")


def run_on_another_disk(site: Site) -> None:
    site.write(site.top)
    (site.top / "disk").mkdir()
    (site.top / "run").symlink_to("disk")


def called_through_sudo(site: Site) -> None:
    site.write(site.top)
    give(site.top)
    site.env = {"SUDO_UID": str(NOBODY)}


def from_a_directory_of_a_service_user(site: Site) -> None:
    site.write(site.top)
    site.home = site.top / "data" / "deep"
    site.home.mkdir(parents=True)
    give(site.top / "data")


def with_sockets_of_a_service_user(site: Site) -> None:
    site.write(site.top)
    (site.top / "run").mkdir()
    (site.top / "run" / "app.pid").touch()
    os.chown(site.top / "run" / "app.pid", NOBODY, NOBODY)
    (site.top / "run" / "app.pid").chmod(0o666)


def noted_by_the_environment(site: Site) -> None:
    site.write(site.top)
    give(site.top)
    site.env = {"TOOMBOS_TRUST": f"/elsewhere:{site.top}"}


def checked_out_by_a_runner_for_everybody(site: Site) -> None:
    """As GitLab's runner does it, with umask 000."""
    site.write(site.top)
    (site.top / "toombos.toml").chmod(0o666)
    site.top.chmod(0o777)
    site.env = {"TOOMBOS_TRUST": str(site.top)}


HEALTHY: dict[str, Callable[[Site], None]] = {
    "an own project": plain,
    "umask 002": shared_by_umask_002,
    "a shared group": shared_by_a_group,
    "links to own files elsewhere": linked_to_own_files,
    "a mounted ConfigMap": mounted_like_a_config_map,
    "run/ as a link to another disk": run_on_another_disk,
    "sudo in the caller's project": called_through_sudo,
    "a service user's directory in an own project": from_a_directory_of_a_service_user,
    "files of a service user in run/": with_sockets_of_a_service_user,
    "a foreign project that TOOMBOS_TRUST names": noted_by_the_environment,
    "a checkout that everybody may write, trusted": checked_out_by_a_runner_for_everybody,
}


@pytest.mark.parametrize("place", HEALTHY.values(), ids=HEALTHY)
def test_a_healthy_project_is_not_refused(site: Site, place: Callable[[Site], None]) -> None:
    place(site)
    codes = {command: site(command).returncode for command in ("status", "start --plan", "start", "health", "logs")}
    try:
        assert codes == {"status": 1, "start --plan": 0, "start": 0, "health": 0, "logs": 0}
        assert site("status").returncode == 0
        assert site("config check").returncode == 0
    finally:
        assert site("stop").returncode == 0


def test_a_foreign_project_as_in_a_container_works_once_it_is_trusted(site: Site) -> None:
    site.write(site.top)
    give(site.top)
    refused(site("start"))
    assert site(f"config trust {site.top}").returncode == 0
    assert site("start").returncode == 0
    assert site("status").returncode == 0
    assert site("stop").returncode == 0
    noted = site.top.parent / "config" / "toombos" / "trusted"
    assert stat.S_IMODE(noted.stat().st_mode) == 0o600
    assert stat.S_IMODE(noted.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("caller", ["", "nonsense", "1", "²"])
def test_a_project_of_another_user_than_the_caller_of_sudo_is_refused(site: Site, caller: str) -> None:
    called_through_sudo(site)
    site.env = {"SUDO_UID": caller}
    refused(site("status"))


def test_roots_jobs_are_not_installed_in_a_project_that_they_would_refuse(site: Site) -> None:
    called_through_sudo(site)
    (site.top / "toombos.toml").write_text((site.top / "toombos.toml").read_text() + '[schedule.a]\nat="01:00"\n'
                                           'command=["health"]\n')  # fmt: skip
    said = refused(site("schedule install --method cron"))
    assert f"hint: sudo toombos config trust {site.top}" in said


def test_a_list_of_trusted_directories_that_a_stranger_could_have_written_is_refused(site: Site) -> None:
    site.write(site.top)
    give(site.top)
    assert site(f"config trust {site.top}").returncode == 0
    noted = site.top.parent / "config" / "toombos" / "trusted"
    os.chown(noted, NOBODY, NOBODY)
    assert "list of trusted directories" in refused(site("status"))
    os.chown(noted, 0, 0)
    assert site("status").returncode == 1
    noted.chmod(0o666)
    assert "list of trusted directories" in refused(site("status"))


TRUST: dict[str, tuple[str, int, dict[str, Any]]] = {
    "an empty list": ("config trust --json", 0, {"directories": [], "directory": None, "changed": False}),
    "a new directory": ("config trust . --json", 0, {"changed": True, "removed": False}),
    "a directory that is not noted": ("config trust . --remove --json", 0, {"changed": False, "removed": True}),
}


@pytest.mark.parametrize(("command", "code", "data"), TRUST.values(), ids=TRUST)
def test_config_trust_reports_what_it_did(site: Site, command: str, code: int, data: dict[str, Any]) -> None:
    done = site(command)
    assert done.returncode == code
    assert data_of(done).items() >= data.items()


@pytest.mark.parametrize("command", ["config trust nowhere", "config trust --remove"])
def test_config_trust_refuses_what_it_cannot_note(site: Site, command: str) -> None:
    assert site(command).returncode == 2


def test_a_shared_group_is_noted_by_config_check(site: Site) -> None:
    shared_by_a_group(site)
    done = site("config check")
    assert done.returncode == 0
    assert "WARN  writers" in done.stdout
    assert f"chmod g-w {site.top}" in done.stdout


def test_a_user_who_may_only_read_a_project_of_root_is_told_the_same_as_before(
    project: Path, toombos: Any, as_another_user: Any
) -> None:
    (project / "toombos.toml").write_text('[services.x]\ncommand = ["sleep", "60"]\nscheme = "none"\n')
    assert as_another_user("start", "--plan").returncode == 0
    assert toombos("start").returncode == 0
    shown = as_another_user("status")
    assert shown.returncode == 4
    assert "Permission denied" in shown.stderr
