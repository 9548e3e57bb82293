"""What the manifest cannot express yet is offered as a comment, and written once the manifest has the key."""

from pathlib import Path

import pytest

from toombos_cli.config.imports import expressible
from toombos_cli.config.imports.expressible import EXAMPLES, Ability, can_express
from toombos_cli.config.imports.formats import read_system
from toombos_cli.config.imports.secrets import Secrets
from toombos_cli.config.imports.settling import settle
from toombos_cli.config.imports.writer import render
from toombos_cli.settings.env_file import read_env_file

COMPOSE = """
services:
  web:
    image: python:3
    command: python web.py
    env_file: [web.env]
    stop_signal: SIGINT
    profiles: [dev]
    depends_on: {migrate: {condition: service_completed_successfully}}
    healthcheck: {test: [CMD, check, --fast]}
  migrate: {image: 'python:3', command: python migrate.py, restart: 'no'}
"""


def written(directory: Path) -> str:
    """Return the manifest that is made from the Compose file, which need not load."""
    path = directory / "compose.yaml"
    path.write_text(COMPOSE)
    (directory / "web.env").write_text("A=1\n")
    _, foreign, system = read_system(path, read_env_file(directory), ".")
    settle(system, foreign)
    secrets = Secrets(env_file=read_env_file(directory))
    secrets.take(system)
    return render(system, secrets, source=path.name)


def test_every_ability_has_an_example() -> None:
    assert EXAMPLES.keys() == set(Ability)


def test_all_of_it_is_written_if_the_manifest_can_express_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressible, "EXAMPLES", {ability: {} for ability in Ability})
    text = written(tmp_path)
    for line in (
        *('kind = "task"', 'depends_on = { migrate = "completed" }', 'stop_signal = "INT"', 'env_files = ["web.env"]'),
        *('groups = ["dev"]', 'health = { command = ["check", "--fast"] }'),
    ):
        assert f"\n{line}\n" in text
    assert "todo" not in text.partition("[services.")[2]
    assert "enabled" not in text


@pytest.mark.parametrize("ability", [ability for ability in Ability if not can_express(ability)])
def test_what_cannot_be_expressed_is_no_key_of_the_manifest(tmp_path: Path, ability: Ability) -> None:
    lines = written(tmp_path).splitlines()
    for key, value in EXAMPLES[ability].items():
        if isinstance(value, str) or key != "depends_on":
            assert not [line for line in lines if line.startswith(f"{key} = ") and not line.startswith('health = "')]
