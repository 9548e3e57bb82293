"""Command lines of other tools: words where they are enough, a shell where its syntax is used."""

import pytest

from toombos_cli.config.imports.shell import command_line, reference, with_references

LINES = [
    pytest.param("gunicorn app:app -w 3", ["gunicorn", "app:app", "-w", "3"], id="plain words"),
    pytest.param("python 'a b.py' \"c d\"", ["python", "a b.py", "c d"], id="quotes are taken off"),
    pytest.param("gunicorn --bind :$PORT", ["gunicorn", "--bind", ":{port}"], id="$PORT becomes a placeholder"),
    pytest.param("x ${PORT:-8000} y", ["x", "{port}", "y"], id="a default of PORT is not needed"),
    pytest.param("x '$PORT'", ["x", "$PORT"], id="in single quotes nothing is a variable"),
    pytest.param("a && b", ["sh", "-c", "a && b"], id="a list needs a shell"),
    pytest.param("a | tee b.log", ["sh", "-c", "a | tee b.log"], id="a pipe needs a shell"),
    pytest.param("a > /dev/null", ["sh", "-c", "a > /dev/null"], id="a redirection needs a shell"),
    pytest.param("echo $HOME", ["sh", "-c", "echo $HOME"], id="another variable needs a shell"),
    pytest.param('echo "$HOME"', ["sh", "-c", 'echo "$HOME"'], id="a variable in double quotes needs a shell"),
    pytest.param('echo "a & b; c"', ["echo", "a & b; c"], id="signs in quotes need none"),
    pytest.param("echo a\\ b\\&c", ["echo", "a b&c"], id="escaped signs need none"),
    pytest.param("ls *.py", ["sh", "-c", "ls *.py"], id="a pattern needs a shell"),
    pytest.param("ls ~/x", ["sh", "-c", "ls ~/x"], id="a home directory needs a shell"),
    pytest.param("curl http://h/a#b~c", ["curl", "http://h/a#b~c"], id="# and ~ within a word do not"),
    pytest.param("x a # b", ["sh", "-c", "x a # b"], id="a comment needs a shell"),
    pytest.param("exec node x.js", ["node", "x.js"], id="exec is left out"),
    pytest.param(
        "source .venv/bin/activate", ["sh", "-c", "source .venv/bin/activate"], id="a word of the shell itself"
    ),
    pytest.param("awk {print}", ["awk", "{{print}}"], id="braces are doubled"),
    pytest.param("sh -c 'echo ${A:-1}'", ["sh", "-c", "echo ${{A:-1}}"], id="braces in a shell's text are doubled"),
    pytest.param('bash -c "a && b"', ["bash", "-c", "a && b"], id="a shell that is there already is not doubled"),
]


@pytest.mark.parametrize(("line", "words"), LINES)
def test_a_line_becomes_the_command_that_does_the_same(line: str, words: list[str]) -> None:
    assert list(command_line(line, {"PORT": "{port}"}).words) == words


def test_leading_assignments_become_variables() -> None:
    found = command_line("A=1 B='x y' celery worker")
    assert (found.words, found.env) == (("celery", "worker"), {"A": "1", "B": "x y"})


def test_assignments_before_a_list_stay_with_it() -> None:
    found = command_line("A=1 b && c")
    assert (found.words, found.env) == (("sh", "-c", "A=1 b && c"), {})


@pytest.mark.parametrize(
    ("line", "words", "directory"),
    [
        pytest.param("cd src && celery -A x", ("celery", "-A", "x"), "src", id="one directory"),
        pytest.param("cd a && cd b && c", ("c",), "a/b", id="two directories"),
        pytest.param("cd src && a && b", ("sh", "-c", "a && b"), "src", id="and then a list"),
        pytest.param("cd $D && a", ("sh", "-c", "cd $D && a"), "", id="a directory in a variable"),
    ],
)
def test_a_change_of_directory_becomes_the_directory(line: str, words: tuple[str, ...], directory: str) -> None:
    found = command_line(line)
    assert (found.words, found.directory) == (words, directory)


@pytest.mark.parametrize("line", ["echo 'a", 'echo "a', "echo 'a && b"])
def test_an_open_quote_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="quot"):
        command_line(line)


SECRET = reference("PW")


@pytest.mark.parametrize(
    ("words", "shell"),
    [
        pytest.param(("redis-server", "--requirepass", SECRET), 'exec redis-server --requirepass "$PW"', id="a word"),
        pytest.param(("x", f"--p={SECRET}!"), "exec x --p=\"$PW\"'!'", id="a part of a word"),
        pytest.param(("x", "{port}", SECRET), 'exec x {port} "$PW"', id="beside a placeholder"),
        pytest.param(("sh", "-c", f"x {SECRET}"), "x ${{PW}}", id="in a shell's text"),
        pytest.param(("sh", "-c", f"x '{SECRET}'"), "x ''\"$PW\"''", id="in single quotes of a shell's text"),
    ],
)
def test_a_secret_in_a_command_becomes_a_variable_of_a_shell(words: tuple[str, ...], shell: str) -> None:
    assert with_references(words) == ("sh", "-c", shell)
