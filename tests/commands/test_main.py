"""The program's edges: exit codes, error texts, JSON on failure, closed pipes."""

import errno
import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.support.runner import run_toombos
from toombos_cli import __version__
from toombos_cli.base import errors
from toombos_cli.cli.failure import fault_of_the_machine
from toombos_cli.cli.invocation import command
from toombos_cli.main import app, main

RAISED = {
    "usage": (errors.UsageError("no such thing", hint="toombos --help"), 2),
    "configuration": (errors.ConfigurationError("bad line", where="toombos.toml:3"), 3),
    "operation": (errors.OperationError("could not start"), 4),
    "refused": (errors.RefusedError("not local"), 5),
    "locked": (errors.LockedError("pid 7 holds the lock"), 6),
    "bug": (ZeroDivisionError("the password is swordfish"), 70),
    "interrupt": (KeyboardInterrupt(), 130),
}


@pytest.fixture(params=RAISED.items(), ids=lambda item: item[0])
def failing(request):
    """A command that raises an error, registered only for this test."""
    name, (error, code) = request.param

    def fail(invocation):
        raise error

    app.command(name=f"raise-{name}")(command(fail))
    yield f"raise-{name}", error, code
    app.registered_commands.pop()


def test_each_kind_of_error_has_its_exit_code_and_no_traceback(failing, capsys):
    name, error, code = failing
    assert main([name]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    if isinstance(error, errors.ToombosError):
        problem = error.problems[0]
        assert problem.message in err
        assert (problem.where or "") in err
        assert (f"hint: {problem.hint}\n" in err) == bool(problem.hint)


def test_a_failure_also_prints_the_json_envelope(failing, capsys):
    name, error, code = failing
    assert main([name, "--json"]) == code
    out = capsys.readouterr().out
    if isinstance(error, KeyboardInterrupt):
        return
    document = json.loads(out)
    assert list(document) == ["schema_version", "command", "verdict", "exit_code", "data", "errors"]
    assert (document["exit_code"], document["verdict"]) == (code, "error")
    assert document["errors"][0]["message"]


def test_a_bug_is_reported_with_its_location_but_never_its_message(failing, capsys):
    name, _, code = failing
    main([name])
    err = capsys.readouterr().err
    assert "swordfish" not in err
    if code == 70:
        assert "a bug in toombos: ZeroDivisionError" in err
        assert Path(__file__).name in err


@pytest.fixture
def run(tmp_path):
    """Run `toombos ARGS` outside a project."""
    return partial(run_toombos, cwd=tmp_path)


def test_version_prints_the_version(run):
    assert run("--version").stdout == f"toombos {__version__}\n"


def test_the_help_is_shown_without_an_error_if_there_is_no_command(run):
    done = run()
    assert done.returncode == 2
    assert done.stdout.startswith("Usage: toombos ")
    assert done.stderr == ""


def test_an_unknown_command_exits_2_with_the_nearest_name(run):
    done = run("helth")
    assert done.returncode == 2
    assert "Did you mean 'health'?" in done.stderr
    assert "hint: toombos --help" in done.stderr


def test_an_unknown_option_exits_2_with_the_help_command_as_hint(run):
    done = run("health", "--timout", "3")
    assert (done.returncode, done.stdout) == (2, "")
    assert "hint: toombos health --help" in done.stderr


def test_a_project_that_is_not_a_directory_exits_2(run, tmp_path):
    done = run("--project", str(tmp_path / "gone"), "health")
    assert done.returncode == 2
    assert "--project is not a directory" in done.stderr


def test_a_deleted_current_directory_exits_2(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    shell = f'rmdir "$PWD"; exec {sys.executable} -P -m toombos_cli status'
    done = subprocess.run(["sh", "-c", shell], cwd=gone, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: the current directory was removed\nhint: cd, or give --project DIR\n"


def test_global_options_may_come_before_or_after_the_command(run, tmp_path):
    (tmp_path / "toombos.toml").write_text("nam = 1\n")
    for argv in (["--project", tmp_path, "--json", "health"], ["health", "--json", "--project", tmp_path]):
        done = run(*map(str, argv))
        assert done.returncode == 3
        document = json.loads(done.stdout)
        assert document["command"] == "health"
        assert document["errors"][0]["where"] == f"{tmp_path / 'toombos.toml'}:1"
        assert done.stderr == ""


def test_a_closed_pipe_ends_the_command_quietly():
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m toombos_cli --help | true"],
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.returncode in (0, 141)


def test_a_subcommand_reports_failure_under_its_full_name(run, tmp_path):
    done = run("--project", str(tmp_path), "config", "show", "nobody", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["command"] == "config show"


def test_the_overview_lists_every_command_once(run):
    from toombos_cli.main import COMMANDS

    sections = run("--help").stdout.partition("Run:")[2].partition("Examples:")[0].splitlines()
    listed = [line.split()[0] for line in sections if re.match(r"  \w", line)]
    assert listed == [name for name, *_ in COMMANDS]


def test_the_shell_completes_commands_and_service_names(tmp_path):
    (tmp_path / "toombos.toml").write_text('[services.shop]\ncommand = ["x"]\nport = 1\n')

    def completed(line: str) -> list[str]:
        asked = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_TOOMBOS_COMPLETE": "complete_bash"}
        program = "import sys; sys.argv[0] = 'toombos'; from toombos_cli.__main__ import run; run()"
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | asked | {"PYTHONPATH": str(Path(__file__).parents[2])},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.stderr == ""
        return done.stdout.split()

    assert completed("toombos config ch") == ["check"]
    completed("toombos config frob ")
    assert completed("toombos health s") == ["shop"]
    assert completed("toombos backup ver") == ["verify"]
    assert "list" in completed("toombos backup ")


def test_an_unreadable_directory_of_another_user_is_an_error_and_is_not_reported_as_empty(
    toombos, project, as_another_user
):
    (project / "toombos.toml").unlink()
    (project / "run").mkdir(mode=0o700)
    (project / "logs").mkdir(mode=0o700)
    assert as_another_user("config", "show").returncode == 0
    done = as_another_user("logs", "crm")
    assert (done.returncode, done.stdout) == (4, "")
    assert "Permission denied" in done.stderr


@pytest.mark.parametrize("named", [False, True], ids=["current directory", "--project"])
def test_a_project_that_this_user_may_not_enter_exits_2(named, project, as_another_user):
    project.chmod(0o700)
    done = as_another_user(*(("--project", str(project)) if named else ()), "status")
    assert (done.returncode, done.stdout) == (2, "")
    assert "this user may not enter the project directory" in done.stderr


def test_a_full_disk_is_reported_as_a_fault_of_the_machine():
    full = fault_of_the_machine(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x"))
    assert full == errors.Problem(message="cannot be used: No space left on device", where="/data/x", hint="df -h .")
    assert fault_of_the_machine(OSError(errno.EINVAL, "")) is None
    assert fault_of_the_machine(KeyError("x")) is None
