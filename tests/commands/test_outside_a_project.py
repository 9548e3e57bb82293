"""Outside a project, every command that falls back on the packaged system says so once, on stderr."""

import json
from pathlib import Path

import pytest

COMMANDS = [
    "status",
    "stop",
    "health",
    "smoke",
    "backup",
    "backup list",
    "restore --latest-good",
    "logs",
    "diagnose --only disk",
    "config check",
    "config show",
    "start --preview",
    "load",
    "schedule show",
]


@pytest.fixture
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nowhere")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_reports_the_searched_directory_and_the_packaged_system(toombos, nowhere, command):
    line = f"no project here (searched {nowhere} and above): using the packaged dry-run system"

    shown = toombos(*command.split(), cwd=nowhere)

    assert shown.stderr.splitlines().count(line) == 1
    assert "no project here (searched" not in shown.stdout


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
