"""The command lines that people, programs and the packaged schedule rely on are understood."""

import shlex
from pathlib import Path

import pytest

from toombos_cli.main import main
from toombos_cli.manifest.loader import load_manifest

JOBS = load_manifest(Path("/nonexistent")).schedule

PROMISED = """
--project . --json --no-color --verbose --quiet status
start crm --dry-run --plan --monitoring --foreground --timeout 5
stop crm
restart crm
status --watch
logs crm -n 5 -f --errors --startup --grep RE --since 10m
health crm --watch 5 --quiet --timeout 2 --log --on-fail true --format nagios
smoke --wait 5 --repeat 2 --junit FILE --github --deep --only preview
load http://127.0.0.1/ -n 100 -c 10 --rate 5 --duration 5s --stages 5s:5 --slo p99<1s --baseline FILE --html FILE
diagnose --only GROUP --bundle FILE --html FILE --issue --incident --fix --profile crm
config check
config show
config init
config init --manifest
config encrypt
config rotate-key
backup
backup create
backup list
backup verify
backup prune
backup status
restore ARCHIVE
restore --latest-good
monitoring up
monitoring down
monitoring restart
monitoring status
monitoring logs
monitoring reload
monitoring check
schedule show
schedule install
schedule remove
recover
"""


@pytest.mark.parametrize("line", PROMISED.strip().splitlines())
def test_a_promised_command_line_is_understood(line, capsys):
    assert main([*shlex.split(line), "--help"]) == 0  # help comes after the parser, which refuses what it does not know
    assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize("name", JOBS)
def test_a_scheduled_command_exists_with_its_options(name, capsys):
    assert main([*JOBS[name].command, "--help"]) == 0
    usage = capsys.readouterr().out
    assert all(word in usage for word in JOBS[name].command if word.startswith("--"))
