"""Every example of the help and of the pages is run on a system of its own; what cannot be is checked for its words."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.contract.test_help import EXAMPLES
from tests.support.ports import free_port
from tests.support.printed_commands import PAGES, in_blocks
from tests.support.runner import run_toombos
from toombos_cli.main import main

NOT_RUN = {
    "stays until it is ended": (
        "start --foreground",
        "status --watch",
        *("logs -f", "events -f"),
        "health shop --watch",
        "ui",
    ),
    "needs the dry-run system": ("start --dry-run",),
    "would change files that the other examples use": ("config trust", "config encrypt SHOP_API_KEY"),
    "changes files of this user": ("--install-completion",),
    "has a name to replace": ("config init --from FILE",),
    "asks a question": ("diagnose --fix", "restore --latest-good"),
    "needs programs of monitoring": ("monitoring ",),
    "changes the schedule of this user": ("schedule install", "schedule remove"),
    "names an archive that only the example has": ("backup pin",),
    "needs the extra `remote`, and writes outside the project": ("backup create --to", "backup copy"),
    "stops the system that the other examples use": ("stop", "restart", "recover"),
    "sends a message": ("alert test",),
    "needs other machines": (
        "load http://10.0.0.9:8000/ --allow-target",
        *("status --hosts", "logs --hosts", "health --hosts", "diagnose --hosts", "backup create --hosts"),
    ),
}
RUN_ANYWAY = ("restore --latest-good --preview", "schedule install --print", "config trust")
PRINTED = dict.fromkeys(
    line.replace(" crm", " shop").replace(" CRM_", " SHOP_") for page in PAGES for line in in_blocks(page)
)
"""The lines of the pages, about the service of this system."""


def may_be_run(line: str) -> bool:
    line = line.removeprefix("toombos ")
    return line in RUN_ANYWAY or not any(line.startswith(start) for starts in NOT_RUN.values() for start in starts)


RUN = [line for line in dict.fromkeys([*(line for line, _ in EXAMPLES), *PRINTED]) if may_be_run(line)]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running system with the names that the examples use."""
    project, port = tmp_path_factory.mktemp("examples"), free_port()
    (project / "toombos.toml").write_text(
        '[services.shop]\ncommand = ["{python}", "-m", "http.server", "{port}", "--bind", "127.0.0.1"]\n'
        f'port = {port}\nhealth = "/"\ngroups = ["web"]\n'
        f'[places.staging]\nload = true\nservices = {{ shop = "http://127.0.0.1:{port}" }}\n'
        '[services.migrate]\nkind = "task"\ncommand = ["echo", "migrated"]\n'
        '[load]\nservice = "shop"\n[[smoke]]\nname = "front"\nservice = "shop"\npath = "/"\nstatus = 200\n'
        '[schedule.backup]\ncommand = ["backup"]\nat = "02:00"\n'
    )
    (project / ".env").write_text(f"API_KEY_ENCRYPTION_KEY={Fernet.generate_key().decode()}\nSHOP_API_KEY=x\n")
    (project / ".env").chmod(0o600)
    (project / "data").mkdir()
    (project / "data" / "orders").write_text("1\n")
    (project / "docker-compose.yml").write_text("services:\n  web:\n    command: [sleep, '1']\n")
    assert run_toombos("start", cwd=project).returncode == 0
    assert run_toombos("backup", cwd=project).returncode == 0
    yield project
    run_toombos("stop", cwd=project)


def test_most_examples_are_run():
    assert len(RUN) > 75
    printed = [*(line for line, _ in EXAMPLES), *PRINTED]
    assert all(
        any(line.startswith(f"toombos {start}") for line in printed) for row in NOT_RUN.values() for start in row
    )


REFUSED = {
    "config init": {5},  # never overwrites
    "config init --manifest": {5},
    "config init --from docker-compose.yml": {5},
    "diagnose": {0, 1},  # what is wrong with this machine is not the example's fault
    "load": {0, 1, 4},  # nor is that it is busy
}
OF_ITS_OWN = ("start", "run", "exec", "alert", "schedule")
"""The commands that need a process of their own: they leave one behind, have the terminal, or become the program."""


@pytest.mark.parametrize("line", RUN)
def test_an_example_works_as_printed(line: str, system: Path, monkeypatch, capsys):
    monkeypatch.chdir(system)
    words = shlex.split(line.partition(" > ")[0])[1:]
    expected = REFUSED.get(" ".join(words)) or REFUSED.get(words[0]) or {0}
    if words[0] in OF_ITS_OWN:
        done = run_toombos(*words, cwd=system)
        assert done.returncode in expected, done.stderr
        return
    assert main(words) in expected, capsys.readouterr()
