"""What a new user sees after cloning the repository and typing the obvious command."""

import json

import pytest


def test_a_start_without_dry_run_reports_live_mode_and_the_command_that_needs_no_settings(toombos):
    done = toombos("start")
    assert done.returncode == 3
    assert "API_KEY: is required in live mode" in done.stderr
    assert done.stderr.endswith(
        "note: this was live mode; the dry-run system needs no settings: toombos start --dry-run\n"
    )


REPORTS = [
    *(
        "start --preview",
        "status",
        "health",
        "smoke",
        "load",
        "logs",
        "diagnose",
        "diagnose --issue",
        "diagnose --incident",
    ),
    *("config check", "config show", "config init --example", "backup", "backup list", "backup status", "backup prune"),
    *("monitoring status", "monitoring check", "alert status", "schedule show", "schedule install --print", "stop"),
]


@pytest.mark.parametrize("line", REPORTS)
def test_json_is_one_document_with_the_same_exit_code_as_the_text(toombos, line):
    code = toombos(*line.split()).returncode
    done = toombos("--json", *line.split())
    document = json.loads(done.stdout)
    assert list(document) == ["schema_version", "command", "verdict", "exit_code", "data", "errors"]
    assert (done.returncode, document["exit_code"]) == (code, code)
    assert line.startswith(document["command"]) or document["command"] == f"{line} create"
