"""The commands that the packaged schedule runs exist."""

from pathlib import Path

import pytest

from toombos_cli.main import main
from toombos_cli.manifest.loader import load_manifest

JOBS = load_manifest(Path("/nonexistent")).schedule


@pytest.mark.parametrize("name", JOBS)
def test_a_scheduled_command_exists_with_its_options(name, capsys):
    assert main([*JOBS[name].command, "--help"]) == 0
    usage = capsys.readouterr().out
    assert all(word in usage for word in JOBS[name].command if word.startswith("--"))
