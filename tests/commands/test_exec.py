"""`toombos exec SERVICE -- COMMAND`: what the command gets, and that it stands in toombos's place."""

import json
import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.runner import TOOMBOS, clean_environment, run_toombos
from toombos_cli.processes import TAG
from toombos_cli.settings.encryption import encrypt

KEY = "k" * 32
MANIFEST = """
[services.app]
command = ["sleep", "600"]
scheme = "none"
cwd = "work"
env = { OWN = "service", PATH = "{project}/bin:/usr/bin:/bin" }
env_files = ["app.env"]

[modes.loud]
env = { VOLUME = "11" }

[modes.quiet]
env = { VOLUME = "1" }

[environment.VOLUME]
description = "how loud"
default = "5"

[environment.APP_KEY]
description = "encrypts"
role = "encryption_key"
secret = true
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project of which nothing runs; a test may start it."""
    project = tmp_path_factory.mktemp("exec")
    (project / "toombos.toml").write_text(MANIFEST)
    (project / ".env").write_text(f"APP_KEY={KEY}\nPASSWORD={encrypt('hush-hush-2210', KEY)}\n")
    (project / "app.env").write_text("URL=db://${USER_OF_DB:-shop}/x\n")
    (project / "work").mkdir()
    (project / "bin").mkdir()
    (project / "bin" / "own").write_text("#!/bin/sh\necho own program\n")
    (project / "bin" / "own").chmod(0o755)
    yield project
    run_toombos("stop", cwd=project)


def shell(project: Path, line: str, *options: str, **given: object) -> str:
    """Return what a line of shell prints that is run as the service."""
    done = run_toombos("exec", *options, "app", "--", "sh", "-c", line, cwd=project, **given)
    assert done.returncode == 0, done.stderr
    return str(done.stdout).strip()


GIVEN = {
    "its own env": ("echo $OWN", "service"),
    "its own env file": ("echo $URL", "db://shop/x"),
    "an encrypted variable in clear text": ("echo $PASSWORD", "hush-hush-2210"),
    "its directory": ("basename $(pwd)", "work"),
    "a program of its PATH": ("own", "own program"),
    "a documented default as the service gets it: not at all": ("echo ${VOLUME-unset}", "unset"),
    "arguments as they are": ("printf '%s' \"a  b\"", "a  b"),
    "SIGPIPE as every program expects it": ("(yes; echo $? >&2) 2>&1 | head -1", "y"),
}


@pytest.mark.parametrize(("line", "printed"), GIVEN.values(), ids=GIVEN.keys())
def test_a_command_gets_what_the_service_would_get(system, line, printed):
    assert shell(system, line) == printed


def test_the_environment_of_this_process_reaches_it_except_the_tag(system):
    line = f"echo $FROM_HERE ${{{TAG}-no tag}}"

    assert shell(system, line, env={"FROM_HERE": "yes", TAG: "x:app:1"}) == "yes no tag"


@pytest.mark.parametrize(("line", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", -15)])
def test_its_exit_code_is_that_of_toombos(system, line, code):
    done = run_toombos("exec", "app", "--", "sh", "-c", line, cwd=system)

    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_options_behind_the_dashes_are_the_commands(system):
    done = run_toombos("exec", "app", "--", "echo", "--json", "--help", "--", "-q", cwd=system)

    assert done.stdout == "--json --help -- -q\n"


def test_it_has_the_terminal(system):
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(system)
        argv = [*TOOMBOS, "exec", "app", "--", "sh", "-c", "read x; tty -s && echo got $x"]
        os.execve(argv[0], argv, clean_environment() | {"TERM": "xterm"})  # noqa: S606  (a pseudo-terminal's child)
    os.write(terminal, b"word\n")
    printed = b""
    while b"got word" not in printed:
        printed += os.read(terminal, 1000)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


WRONG = {
    "no command": (("app",), 2, "no command is given"),
    "an unknown service": (("ap", "--", "true"), 2, "did you mean 'app'?"),
    "an unknown mode": (("--mode", "lud", "app", "--", "true"), 2, "did you mean 'loud'?"),
    "a program that there is not": (("app", "--", "no-such-program"), 4, "the program 'no-such-program' was not found"),
    "a file that is no program": (("app", "--", "../toombos.toml"), 4, "is not executable"),
}


@pytest.mark.parametrize(("arguments", "code", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_run_is_named(system, arguments, code, message):
    done = run_toombos("exec", *arguments, cwd=system)

    assert (done.returncode, message in done.stderr) == (code, True), done.stderr


def test_an_error_is_one_json_document_if_toombos_was_asked_for_it(system):
    asked = run_toombos("exec", "--json", "app", "--", "zzz", "--quiet", cwd=system)
    the_commands = run_toombos("exec", "app", "--", "zzz", "--json", cwd=system)

    assert json.loads(asked.stdout)["command"] == "exec"
    assert the_commands.stdout == ""


def test_without_the_key_nothing_is_run_and_no_secret_shown(system):
    (system / ".env").rename(system / "kept")
    try:
        (system / ".env").write_text(f"APP_KEY={KEY[1:]}x\nPASSWORD={encrypt('hush-hush-2210', KEY)}\n")
        done = run_toombos("exec", "app", "--", "echo", "ran", cwd=system)
    finally:
        (system / "kept").rename(system / ".env")

    assert (done.returncode, done.stdout) == (3, "")
    assert "the encrypted value of PASSWORD cannot be read" in done.stderr


def test_the_mode_is_that_of_the_running_system(system):
    assert shell(system, "echo $VOLUME", "--mode", "quiet") == "1"
    assert run_toombos("start", "--mode", "loud", cwd=system).returncode == 0

    assert shell(system, "echo $VOLUME") == "11"
    done = run_toombos("stop", "--json", cwd=system)
    assert [row["killed"] for row in json.loads(done.stdout)["data"]["ended"]] == [[]]


def test_it_is_the_user_of_the_service(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    keys = 'command = ["x"]\nscheme = "none"\nuser = "nobody"\n'
    (tmp_path / "toombos.toml").write_text(f'[services.app]\ncwd = "/"\n{keys}[services.shut]\n{keys}')
    tmp_path.chmod(0o700)

    assert shell(tmp_path, "id -un; id -Gn; echo $USER").split() == ["nobody", "nogroup", "nobody"]
    shut = run_toombos("exec", "shut", "--", "true", cwd=tmp_path)
    assert (shut.returncode, "may not enter its directory" in shut.stderr) == (4, True)
