"""A secret of another tool's file goes to a private `.env` or is named, and never stands in the manifest."""

import json
import stat
from pathlib import Path

import pytest

from toombos_cli.config.imports.run import run_import
from toombos_cli.config.reports import ImportReport
from toombos_cli.settings.env_file import read_env_file

SECRET = "Tr0ub4dor&3x"


def imported(directory: Path, name: str, text: str) -> tuple[ImportReport, str]:
    (directory / name).write_text(text)
    report = run_import(directory / name, directory, force=True)
    return report, (directory / "toombos.toml").read_text()


def compose(line: str) -> str:
    return f"services:\n  a:\n    image: redis:7\n    {line}\n"


PLACES = [
    pytest.param("compose.yaml", compose(f"environment: {{DB_PASSWORD: '{SECRET}'}}"), "DB_PASSWORD", id="by its name"),
    pytest.param("compose.yaml", compose(f"environment: ['U=pg://u:{SECRET}@h/d']"), "U", id="in an address"),
    pytest.param(
        "compose.yaml", compose(f"environment: {{A_TOKEN: '${{X:-{SECRET}}}'}}"), "A_TOKEN", id="as a default"
    ),
    pytest.param(
        "compose.yaml", compose(f"environment: {{A_TOKEN: '${{A_TOKEN:-{SECRET}}}'}}"), "A_TOKEN", id="its default"
    ),
    pytest.param(
        "compose.yaml", compose(f"command: redis-server --requirepass {SECRET}"), "A_SECRET", id="in a command"
    ),
    pytest.param(
        "compose.yaml", compose(f"command: [redis-server, --requirepass={SECRET}]"), "A_SECRET", id="in a word"
    ),
    pytest.param(
        "compose.yaml", compose(f"command: sh -c 'x --password {SECRET}'"), "A_SECRET", id="in a shell's text"
    ),
    pytest.param("Procfile", f"a: API_KEY='{SECRET}' x\n", "API_KEY", id="before a command"),
    pytest.param("Procfile", f"a: x --api-key '{SECRET}'\n", "A_SECRET", id="in a line of a Procfile"),
    pytest.param(
        "process-compose.yaml",
        f"processes: {{a: {{command: x, environment: ['API_KEY={SECRET}']}}}}",
        "API_KEY",
        id="a process",
    ),
    pytest.param(
        "supervisord.conf", f'[program:a]\ncommand=x\nenvironment=API_KEY="{SECRET}"\n', "API_KEY", id="a program"
    ),
    pytest.param(
        "ecosystem.json",
        f'{{"apps": [{{"script": "a.js", "env": {{"API_KEY": "{SECRET}"}}}}]}}',
        "API_KEY",
        id="an app",
    ),
]


@pytest.mark.parametrize(("name", "text", "variable"), PLACES)
def test_a_secret_goes_to_a_private_file(tmp_path: Path, name: str, text: str, variable: str) -> None:
    report, manifest = imported(tmp_path, name, text)
    assert SECRET not in manifest
    assert SECRET in read_env_file(tmp_path).values[variable]
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert (report.secrets, f"[environment.{variable}]" in manifest) == ((variable,), True)


@pytest.mark.parametrize(("name", "text", "variable"), PLACES)
def test_a_present_file_is_not_changed_and_the_secret_is_named(
    tmp_path: Path, name: str, text: str, variable: str
) -> None:
    (tmp_path / ".env").write_text("OTHER=1\n")
    report, manifest = imported(tmp_path, name, text)
    assert ((tmp_path / ".env").read_text(), SECRET in manifest) == ("OTHER=1\n", False)
    assert (report.env_file, report.secrets_to_add) == (None, (variable,))
    assert f"# todo: add {variable} to .env, with the value in the other file\n" in manifest


@pytest.mark.parametrize(
    "value",
    ["a'b\\c", 'a"b c#d', "a$b", "two\nlines", " blanks ", "é\u00a0", "\\n"],
    ids=["quotes", "a hash", "a dollar", "lines", "blanks", "other letters", "an escape"],
)
def test_every_value_is_read_back_as_it_was(tmp_path: Path, value: str) -> None:
    imported(tmp_path, "ecosystem.json", json.dumps({"apps": [{"script": "a.js", "env": {"API_KEY": value}}]}))
    assert read_env_file(tmp_path).values["API_KEY"] == value


def test_a_value_that_env_cannot_hold_is_named(tmp_path: Path) -> None:
    text = '{"apps": [{"script": "a.js", "env": {"API_KEY": "${HOME}x"}}]}'
    report, manifest = imported(tmp_path, "ecosystem.json", text)
    assert (report.secrets, report.secrets_to_add, "${HOME}" in manifest) == ((), ("API_KEY",), False)


def test_a_secret_with_two_values_is_not_taken_for_one(tmp_path: Path) -> None:
    apps = ", ".join(f'{{"name": "{n}", "script": "a.js", "env": {{"API_KEY": "{SECRET}{n}"}}}}' for n in "ab")
    report, manifest = imported(tmp_path, "ecosystem.json", f'{{"apps": [{apps}]}}')
    assert read_env_file(tmp_path).values == {"API_KEY": f"{SECRET}a"}
    assert (SECRET in manifest, [task.service for task in report.open_tasks]) == (False, ["b"])


def test_a_secret_of_env_in_a_compose_file_stays_there(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"REDIS_PASSWORD={SECRET}\n")
    text = compose(
        "command: redis-server --requirepass ${REDIS_PASSWORD}\n    environment: {COPY: 'x${REDIS_PASSWORD}'}"
    )
    report, manifest = imported(tmp_path, "compose.yaml", text)
    assert SECRET not in manifest
    assert '"$REDIS_PASSWORD"' in manifest
    assert report.secrets_to_add == ("COPY",)


def test_a_file_that_others_can_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\n")
    (tmp_path / ".env").chmod(0o644)
    assert imported(tmp_path, "Procfile", "a: x\n")[0].env_file_is_open
    (tmp_path / ".env").chmod(0o600)
    assert not imported(tmp_path, "Procfile", "a: x\n")[0].env_file_is_open


def test_a_comment_does_not_quote_a_secret(tmp_path: Path) -> None:
    check = f"healthcheck: {{test: [CMD, redis-cli, -a, '{SECRET}', info]}}"
    assert SECRET not in imported(tmp_path, "compose.yaml", compose(check))[1]
