"""What the loader says about a value of the wrong type or a word of another tool, and that its hints can be pasted."""

import tomllib
from pathlib import Path

import pytest

from toombos_cli.base.errors import ConfigurationError, Problem
from toombos_cli.manifest.reading.loader import load_manifest

HEAD = '[services.db]\ncommand = ["x"]\nscheme = "none"\n[services.a]\n'
COMMAND = 'command = ["x"]\n'
PORT = "port = 7101\n"


def problem_of(directory: Path, text: str) -> Problem:
    (directory / "toombos.toml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_manifest(directory)
    (problem,) = caught.value.problems
    return problem


TYPES = {
    "a command as one text": (
        PORT,
        'command = "npm run dev"',
        "command: must be a list",
        'command = ["npm", "run", "dev"]',
    ),
    "a command with quotes": (
        PORT,
        "command = \"sh 'a b'\"",
        "command",
        'command = ["sh", "a b"]',
    ),
    "a command for a shell": (
        PORT,
        'command = "a | b"',
        "command",
        'command = ["sh", "-c", "a | b"]',
    ),
    "a command that begins with a variable": (
        PORT,
        'command = "A=1 x"',
        "command",
        'command = ["sh", "-c", "A=1 x"]',
    ),
    "a command with a placeholder": (
        PORT,
        'command = "x {port}"',
        "command",
        'command = ["x", "{port}"]',
    ),
    "a number among the words of a command": (
        PORT,
        'command = ["sleep", 6]',
        "command, item 2",
        'command = ["sleep", "6"]',
    ),
    "one dependency as text": (
        COMMAND + PORT,
        'depends_on = "db"',
        "depends_on: must be a list or a table",
        'depends_on = ["db"]',
    ),
    "groups as text": (
        COMMAND + PORT,
        'groups = "a, b"',
        "groups: must be a list",
        'groups = ["a", "b"]',
    ),
    "a variable that is a number": (
        COMMAND + PORT,
        "env = { A = '', PORT = 7101 }",
        "env.PORT: must be a text",
        'PORT = "7101"',
    ),
    "a variable that is true": (
        COMMAND + PORT,
        "env = { DEBUG = true }",
        "env.DEBUG: must be a text",
        'DEBUG = "true"',
    ),
    "a default that is a number": (
        COMMAND + PORT,
        "default_env = { N = 1.5 }",
        "default_env.N",
        'N = "1.5"',
    ),
    "variables as a list": (
        COMMAND + PORT,
        'env = ["A=b", "C=d=e"]',
        "env: must be a table",
        'env = { A = "b", C = "d=e" }',
    ),
    "a port as text": (
        COMMAND,
        'port = "7101"',
        "port: must be a whole number, not a text in quotes",
        "port = 7101",
    ),
    "a port with a point": (
        COMMAND,
        "port = 7101.0",
        "port: must be a whole number, not a number with",
        "port = 7101",
    ),
    "a truth value as text": (
        COMMAND + PORT,
        'optional = "yes"',
        "optional: must be true or false",
        "optional = true",
    ),
    "a time with its unit": (
        COMMAND + PORT,
        'startup_timeout_s = "1.5m"',
        "must be a number",
        "startup_timeout_s = 90",
    ),
    "a latency with its unit": (
        COMMAND + PORT,
        'latency_warn_ms = "2s"',
        "must be a number",
        "latency_warn_ms = 2000",
    ),
    "a size with its unit": (
        COMMAND + PORT,
        'limits.memory_warn_mb = "2G"',
        "a whole number",
        "memory_warn_mb = 2048",
    ),
    "a policy instead of its table": (
        COMMAND + PORT,
        'restart = "always"',
        "restart: must be a table",
        'restart = { policy = "always" }',
    ),
    "a path to watch as text": (
        COMMAND + PORT,
        'watch = "src/**/*.py"',
        "watch",
        'watch = ["src/**/*.py"]',
    ),
    "a health command as text": (
        COMMAND + PORT,
        'health = { command = "a -q" }',
        "health.command",
        'command = ["a", "-q"]',
    ),
    "a text in a list": (
        COMMAND + PORT,
        'log = ["x.log"]',
        "log: must be a text",
        'log = "x.log"',
    ),
}


@pytest.mark.parametrize(("before", "line", "said", "hint"), TYPES.values(), ids=TYPES)
def test_a_wrong_type_is_named_in_words_with_the_line_to_write(
    before: str, line: str, said: str, hint: str, tmp_path: Path
) -> None:
    problem = problem_of(tmp_path, f"{HEAD}{before}{line}\n")
    assert problem.message.startswith("services.a.")
    assert said in problem.message
    assert "`" not in problem.message
    assert problem.hint == hint
    assert problem.where == f"{tmp_path / 'toombos.toml'}:{len((HEAD + before).splitlines()) + 1}"


@pytest.mark.parametrize("hint", [row[3] for row in TYPES.values() if "=" in row[3]], ids=TYPES)
def test_each_line_to_write_is_toml(hint: str) -> None:
    assert tomllib.loads(hint)


@pytest.mark.parametrize("line", ["env = { API_KEY = 4711 }", 'env = ["DB_PASSWORD=4711"]'], ids=["a number", "a list"])
def test_the_value_of_a_secret_is_not_repeated(line: str, tmp_path: Path) -> None:
    problem = problem_of(tmp_path, f"{HEAD}{COMMAND}{PORT}{line}\n")
    assert "4711" not in f"{problem.message} {problem.hint}"


def test_every_wrong_variable_is_reported_and_not_only_the_first(tmp_path: Path) -> None:
    (tmp_path / "toombos.toml").write_text(f"{HEAD}{COMMAND}{PORT}env = {{ A = 1, B = 2 }}\nprot = 3\n")
    with pytest.raises(ConfigurationError) as caught:
        load_manifest(tmp_path)
    said = "\n".join(problem.message for problem in caught.value.problems)
    assert all(name in said for name in ("env.A", "env.B", "prot"))


WORDS = {
    "environment": "did you mean 'env'?",
    "env_file": "did you mean 'env_files'?",
    "working_dir": "did you mean 'cwd'?",
    "directory": "did you mean 'cwd'?",
    "entrypoint": "did you mean 'command'?",
    "ports": "did you mean 'port'?",
    "healthcheck": "did you mean 'health'?",
    "readiness_probe": "did you mean 'ready'?",
    "autostart": "optional = true: it is only started if it is named",
    "autorestart": "did you mean 'restart'?",
    "stopsignal": "did you mean 'stop_signal'?",
    "stop_grace_period": "did you mean 'grace_period_s'?",
    "profiles": "did you mean 'groups'?",
    "image": 'toombos runs programs, not images: command = ["PROGRAM", "ARGUMENT"]',
    "replicas": "each copy is a service of its own, with its own port",
    "comand": "did you mean 'command'?",
    "zzz": "toombos help manifest",
}


@pytest.mark.parametrize(("word", "hint"), WORDS.items(), ids=WORDS)
def test_a_word_of_another_tool_leads_to_the_key(word: str, hint: str, tmp_path: Path) -> None:
    assert problem_of(tmp_path, f'{HEAD}{COMMAND}{PORT}{word} = "x"\n').hint == hint


def test_a_word_that_stands_for_two_keys_names_both(tmp_path: Path) -> None:
    text = f"{HEAD}{COMMAND}{PORT}[services.a.limits]\nmemory = 3\n"
    assert problem_of(tmp_path, text).hint == "did you mean 'memory_warn_mb' or 'memory_restart_mb'?"


LINES = {
    "[services.a": "[services.a]",
    "[[smoke]": "[[smoke]]",
    "port: 3": "port = 3",
    "name = my shop": 'name = "my shop"',
    'name = "shop': 'name = "shop"',
    "x = True": "x = true",
    r'x = "\d+"': r"x = '\d+'",
    "x = \N{LEFT DOUBLE QUOTATION MARK}a\N{RIGHT DOUBLE QUOTATION MARK}": 'x = "a"',
    "password = hunter2": None,
    "?": None,
}


@pytest.mark.parametrize(("line", "hint"), LINES.items(), ids=LINES)
def test_a_line_that_is_not_toml_is_shown_as_it_was_meant(line: str, hint: str | None, tmp_path: Path) -> None:
    problem = problem_of(tmp_path, f"{line}\n")
    assert problem.hint == hint
    assert "hunter2" not in problem.message
