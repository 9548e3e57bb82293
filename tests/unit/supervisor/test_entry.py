"""What is begun before the command line is loaded."""

import socket
from pathlib import Path

import pytest

from tests.conftest import wait_for
from toombos_cli import entry, processes
from toombos_cli.supervisor import launching

BEGINS = {
    "start": True,
    "--json start crm --dry-run": True,
    "start -q --timeout 5": True,
    "": False,
    "status": False,
    "logs start": False,
    "start --help": False,
    "start --plan": False,
    "start --foreground": False,
    "--project elsewhere start": False,
    "start --project=elsewhere": False,
    "restart": False,
}


@pytest.mark.parametrize(("line", "begins"), BEGINS.items(), ids=lambda value: str(value) or "nothing")
def test_a_supervisor_is_launched_for_a_start_alone(
    line: str, begins: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOOMBOS_PROJECT", raising=False)
    (tmp_path / "toombos.toml").touch()
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert entry.project_to_start(line.split()) == (tmp_path if begins else None)


def test_a_supervisor_for_another_project_than_guessed_ends_and_leaves_nothing(tmp_path: Path) -> None:
    guess, meant = tmp_path / "guess", tmp_path / "meant"
    guess.mkdir()
    meant.mkdir()
    launching.launch_ahead(guess)

    def supervisors() -> set[str]:
        lines = [processes.command_line(pid) or "" for pid in processes.process_table()]
        return {line.split()[4] for line in lines if "toombos_cli.supervisor" in line and str(tmp_path) in line}

    wait_for(lambda: supervisors() == {str(guess)})
    with launching.launched_early(meant) as connection:
        assert isinstance(connection, socket.socket)
        wait_for(lambda: supervisors() == {str(meant)})
    wait_for(lambda: supervisors() == set())
    assert list(guess.iterdir()) == list(meant.iterdir()) == []
