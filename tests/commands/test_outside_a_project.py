"""Outside a project, every command that falls back on the packaged system says so once, on stderr."""

import io
import json
import shlex
from pathlib import Path

import pytest

from tests.contract.test_command_line import all_commands
from toombos_cli.base.errors import UsageError
from toombos_cli.main import main

# Every command, with arguments that let it do nothing but speak; those that act are stopped where they would.
COMMANDS = {
    "start": "start --preview",
    "stop": "stop",
    "restart": "restart nosuch",
    "status": "status",
    "logs": "logs",
    "exec": "exec crm",
    "run": "run migrate",
    "events": "events",
    "health": "health",
    "smoke": "smoke",
    "load": "load",
    "diagnose": "diagnose --only disk",
    "backup create": "backup create",
    "backup list": "backup list",
    "backup copy": "backup copy",
    "backup verify": "backup verify",
    "backup prune": "backup prune --preview",
    "backup status": "backup status",
    "backup drill": "backup drill",
    "backup pin": "backup pin nosuch",
    "restore": "restore --latest-good --yes",
    "recover": "recover",
    "config check": "config check",
    "config show": "config show",
    "config init": "config init --example",
    "config encrypt": "config encrypt",
    "config rotate-key": "config rotate-key",
    "monitoring up": "monitoring up",
    "monitoring down": "monitoring down",
    "monitoring restart": "monitoring restart",
    "monitoring status": "monitoring status",
    "monitoring logs": "monitoring logs",
    "monitoring reload": "monitoring reload",
    "monitoring check": "monitoring check",
    "alert test": "alert test",
    "alert send": "alert send --severity P3 text",
    "alert status": "alert status",
    "alert deliver": "alert deliver",
    "alert serve": "alert serve",
    "export systemd": "export systemd --output out",
    "export compose": "export compose --output out",
    "export kubernetes": "export kubernetes --output out",
    "schedule show": "schedule show",
    "schedule install": "schedule install --print",
    "schedule remove": "schedule remove",
    "schedule run": "schedule run nosuch",
}
NO_PROJECT = {
    "config schema": "of any project",
    "config trust": "of directories",
    "help": "of commands and pages",
    "ui": "in its title, which names the project",
}
"""The commands that speak of no project."""


@pytest.fixture
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nowhere")


def test_every_command_is_in_the_table() -> None:
    leaves = {name for name, loaded in all_commands() if not hasattr(loaded, "commands")}

    assert leaves == COMMANDS.keys() | NO_PROJECT.keys()


@pytest.fixture
def nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop what would start services, listen, or change the machine, after the command has read its manifest."""

    def refuse(*_: object, **__: object) -> None:
        raise UsageError("nothing is done here")

    for place in (
        *("recovery.run.run_recovery", "commands.monitoring._up", "alerts.receiver.run_receiver"),
        *(
            "alerts.sender.run_sender",
            "project.alert_spool.emit",
            "schedule.operations.run_remove",
            "monitoring.operations.stop_containers",
        ),
    ):
        monkeypatch.setattr(f"toombos_cli.{place}", refuse)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("as_json", [False, True], ids=["as text", "as JSON"])
@pytest.mark.usefixtures("nothing_is_done")
def test_a_command_reports_the_searched_directory_and_the_packaged_system(
    nowhere: Path, command: str, as_json: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"no project here (searched {nowhere} and above): using the packaged dry-run system"
    monkeypatch.chdir(nowhere)
    monkeypatch.setattr("sys.stdin", io.StringIO())

    main([*shlex.split(COMMANDS[command]), *(["--json"] if as_json else [])])

    shown = capsys.readouterr()
    assert shown.err.splitlines().count(line) == 1
    assert "no project here (searched" not in shown.out


def test_a_start_says_it_before_it_starts(toombos, nowhere):
    done = toombos("start", "nosuch", cwd=nowhere)

    assert "using the packaged dry-run system" in done.stderr


@pytest.mark.parametrize("command", ["status", "stop", "backup list", "config show"])
def test_json_stays_one_document_and_quiet_prints_nothing(toombos, nowhere, command):
    shown = toombos(*command.split(), "--json", cwd=nowhere)
    assert json.loads(shown.stdout)["command"] == command
    assert "no project here" in shown.stderr

    assert "no project here" not in toombos(*command.split(), "--quiet", cwd=nowhere).stderr


@pytest.mark.parametrize("command", ["--help", "--version", "status --help", "config init --manifest"])
def test_commands_that_need_no_project_print_no_note(toombos, nowhere, command):
    assert "no project here" not in toombos(*command.split(), cwd=nowhere).stderr


MARKERS = {
    "toombos.toml": "services.a.command = ['sleep', '9']\nservices.a.scheme = 'none'\n",
    ".env": "",
    ".env.example": "",
}


@pytest.mark.parametrize(("marker", "text"), MARKERS.items(), ids=MARKERS.keys())
def test_there_is_no_note_in_a_project_or_below_it(toombos, nowhere, marker, text):
    (nowhere / marker).write_text(text)
    (nowhere / "below").mkdir()

    for place in (nowhere, nowhere / "below"):
        assert "no project here" not in toombos("status", cwd=place).stderr


def test_the_note_names_the_directory_from_the_project_option(toombos, nowhere):
    errors = toombos("status", "--project", str(nowhere)).stderr
    assert f"no project here ({nowhere} was searched): using the packaged dry-run system\n" in errors
