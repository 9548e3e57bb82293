"""Files that are damaged, hostile or something else end in a message with the place and a hint, and write nothing."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from toombos_cli.base.errors import ToombosError
from toombos_cli.config.imports.run import UnloadableImportError, run_import

BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{after}: &{after} [{','.join([f'*{before}'] * 10)}]\n" for before, after in zip("abcdefg", "bcdefgh", strict=True)
)
MERGES = "a: &a {k: v}\n" + "".join(
    f"{after}: &{after} {{<<: [{','.join([f'*{before}'] * 10)}]}}\n"
    for before, after in zip("abcdefg", "bcdefgh", strict=True)
)
SERVICE = "services:\n  a:\n    image: python:3\n    command: x\n"
BAD = [
    pytest.param("compose.yaml", BOMB, 3, 1, "aliases stand for more than", id="aliases that multiply"),
    pytest.param("compose.yaml", MERGES, 3, 1, "aliases stand for more than", id="merge keys that multiply"),
    pytest.param("compose.yaml", "a: &a [*a]\n", 3, 1, "an anchor contains itself", id="an anchor without end"),
    pytest.param("compose.yaml", "a: &a {<<: *a}\n", 3, 1, "an anchor contains itself", id="a merge without end"),
    pytest.param("compose.yaml", "a: " + "[" * 5000, 3, 1, "nested too deeply", id="5,000 levels"),
    pytest.param("compose.yaml", "a:\n\tb: c\n", 3, 2, "not valid YAML", id="a tab"),
    pytest.param(
        "compose.yaml", "services: {}\nservices: {}\n", 3, 2, "'services' is there twice", id="a repeated key"
    ),
    pytest.param("compose.yaml", SERVICE + "---\na: b\n", 3, 5, "another document", id="two documents"),
    pytest.param("compose.yaml", "services: !Ref x\n", 3, 1, "the tag !Ref has no meaning", id="a tag"),
    pytest.param(
        "compose.yaml", "services: !!python/object:os.system x\n", 3, 1, "no meaning here", id="a tag of Python"
    ),
    pytest.param("compose.yaml", "services: *x\n", 3, 1, "undefined alias", id="an unknown alias"),
    pytest.param("compose.yaml", "? [a]\n: b\n", 3, 1, "a key is no text", id="a key that is a list"),
    pytest.param("compose.yaml", "a: \x07\n", 3, 1, "control character", id="a control character"),
    pytest.param("compose.yaml", "services: [a]\n", 3, 1, "services: must be a mapping", id="a list of services"),
    pytest.param(
        "compose.yaml", "services:\n  a: b\n", 3, 2, "services.a: must be a mapping", id="a service in one text"
    ),
    pytest.param("compose.yaml", "services:\n  a: {}\n", 3, 2, "neither image nor build", id="a service of nothing"),
    pytest.param("compose.yaml", SERVICE + "    ports: [x]\n", 3, 5, "'x' is not a port mapping", id="no port"),
    pytest.param(
        "compose.yaml", SERVICE + "    ports: ['70000']\n", 3, 5, "not the number of a port", id="a large port"
    ),
    pytest.param("compose.yaml", SERVICE + "    depends_on: [b]\n", 3, 5, "no service is named 'b'", id="a dependency"),
    pytest.param(
        "compose.yaml", SERVICE + "    depends_on: [a]\n", 3, None, "in a circle: a -> a", id="a dependency on itself"
    ),
    pytest.param(
        "compose.yaml", SERVICE + "    depends_on: {a: {condition: up}}\n", 3, 5, "is not a condition", id="a condition"
    ),
    pytest.param("compose.yaml", SERVICE + "    restart: maybe\n", 3, 5, "not a restart policy", id="a policy"),
    pytest.param("compose.yaml", SERVICE + "    stop_grace_period: soon\n", 3, 5, "not a duration", id="a duration"),
    pytest.param("compose.yaml", SERVICE + "    mem_limit: much\n", 3, 5, "is not a size", id="a size"),
    pytest.param("compose.yaml", SERVICE + "    extends: a\n", 3, 5, "in a circle", id="a service that extends itself"),
    pytest.param(
        "compose.yaml", SERVICE + "    extends: {service: b}\n", 3, 5, "no service is named 'b'", id="extends"
    ),
    pytest.param(
        "compose.yaml",
        SERVICE + "    extends: {file: x.yml, service: b}\n",
        2,
        None,
        "no such file",
        id="a file it extends",
    ),
    pytest.param(
        "compose.yaml", "services:\n  a:\n    image: x\n    command: 'a \"b'\n", 3, 4, "a quote", id="a quote"
    ),
    pytest.param("process-compose.yaml", "processes:\n  a: {}\n", 3, 2, "has no command", id="a process of nothing"),
    pytest.param(
        "process-compose.yaml",
        "processes:\n  a:\n    command: x\n    readiness_probe: {period_seconds: 1e400, http_get: {port: 1}}\n",
        3,
        4,
        "must be a number",
        id="a number without end",
    ),
    pytest.param("Procfile", "web gunicorn\n", 3, 1, "is not `name: command`", id="a line of a Procfile"),
    pytest.param("Procfile", "a: x\na: y\n", 3, 2, "the process a is there twice", id="a process twice"),
    pytest.param("Procfile", "a: echo 'x\n", 3, 1, "a quote that is not closed", id="a quote in a Procfile"),
    pytest.param("Procfile", "# nothing\n", 3, None, "has no service", id="a Procfile of comments"),
    pytest.param("supervisord.conf", "[supervisord]\n", 3, None, "has no service", id="no program"),
    pytest.param("supervisord.conf", "a=1\n[program:a]\n", 3, 1, "before the first", id="a line before a section"),
    pytest.param("supervisord.conf", "[program:a]\ncommand\n", 3, 2, "not understood", id="no ="),
    pytest.param(
        "supervisord.conf", "[program:a]\ncommand=x\ncommand=y\n", 3, 3, "command is there twice", id="an option"
    ),
    pytest.param(
        "supervisord.conf", "[program:a]\ncommand=x\nnumprocs=1000\n", 3, 3, "from 1 to 32", id="many processes"
    ),
    pytest.param("supervisord.conf", "[program:a]\ncommand=%(x)s\n", 3, 2, "has no meaning here", id="an expansion"),
    pytest.param("ecosystem.json", '{"apps": [{"name": "a"}]}', 3, None, "has no script", id="an app of nothing"),
    pytest.param("ecosystem.json", '{\n"apps": [}\n', 3, 2, "not valid JSON", id="JSON with an error"),
    pytest.param("ecosystem.json", '{"apps": [{"script": "a\\u0000"}]}', 3, None, "NUL", id="NUL in JSON"),
    pytest.param("ecosystem.config.js", "module.exports = {}\n", 3, None, "is a program", id="JavaScript"),
    pytest.param("package.json", '{"scripts": {"test": "x"}}', 3, None, "keep running", id="scripts that end"),
    pytest.param("package.json", "{}", 3, None, "keep running", id="a package without scripts"),
    pytest.param("notes.txt", "Dear all,\nthis is a letter.\n", 3, None, "none of the files", id="a letter"),
    pytest.param("x.toml", '[services.a]\ncommand = ["x"]\n', 3, None, "none of the files", id="a manifest"),
    pytest.param("empty.yaml", "", 3, None, "none of the files", id="an empty file"),
    pytest.param("values.yaml", "replicas: 1\n", 3, None, "none of the files", id="another YAML file"),
]


def refused(directory: Path, path: Path) -> ToombosError:
    """Return the error of an import, which must have written nothing."""
    with pytest.raises(ToombosError) as caught:
        run_import(path, directory, force=False)
    assert not {"toombos.toml", ".env"} & {entry.name for entry in directory.iterdir()}
    return caught.value


@pytest.mark.parametrize(("name", "text", "code", "line", "message"), BAD)
def test_a_bad_file_is_refused_with_its_place(
    tmp_path: Path, name: str, text: str, code: int, line: int | None, message: str
) -> None:
    (tmp_path / name).write_text(text)
    error = refused(tmp_path, tmp_path / name)
    assert (error.exit_code, message in str(error)) == (code, True), str(error)
    if line is not None:
        assert error.problems[0].where == f"{tmp_path / name}:{line}"
    assert (error.problems[0].where or "").startswith(str(tmp_path))


def large(path: Path) -> None:
    path.write_bytes(b"a: b\n" * 2_000_000)


def binary(path: Path) -> None:
    path.write_bytes(b"\x7fELF\x02\x01\x01\x00" + os.urandom(200))


def latin_1(path: Path) -> None:
    path.write_bytes(b"services:\n  a: {image: caf\xe9}\n")


def utf_16(path: Path) -> None:
    path.write_text("services: {}\n", "utf-16")


PLACES: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "no file": (lambda path: None, 2, "no such file"),
    "a directory": (Path.mkdir, 2, "is a directory"),
    "10 MB": (large, 3, "is longer than"),
    "a program": (binary, 3, "is not text in UTF-8"),
    "Latin-1": (latin_1, 3, "is not text in UTF-8"),
    "UTF-16": (utf_16, 3, "is not text in UTF-8"),
    "NUL": (lambda path: path.write_bytes(b"a\0b"), 3, "the character NUL"),
    "a FIFO": (os.mkfifo, 5, "is a FIFO or a device"),
    "a link to nowhere": (lambda path: path.symlink_to("nowhere"), 2, "no such file"),
}


@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_text_is_refused(tmp_path: Path, place: str) -> None:
    make, code, message = PLACES[place]
    make(tmp_path / "compose.yaml")
    error = refused(tmp_path, tmp_path / "compose.yaml")
    assert (error.exit_code, message in str(error)) == (code, True), str(error)
    assert error.problems[0].hint


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xef\xbb\xbfa: x\nb: y\n", id="a byte order mark"),
        pytest.param(b"a: x\r\nb: y\r\n", id="CRLF"),
        pytest.param(b"a: x\rb: y\r", id="CR"),
        pytest.param(b"a: x\nb: y", id="no end of the last line"),
    ],
)
def test_marks_and_line_ends_of_other_systems_mean_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "Procfile").write_bytes(content)
    assert run_import(tmp_path / "Procfile", tmp_path, force=False).services == ("a", "b")


SEEDS = {
    "Procfile": "web: cd a && gunicorn x --bind :$PORT\nworker: A=1 celery 'a b'\nrelease: x && y\n",
    "compose.yaml": SERVICE + "    ports: ['8080:8000']\n    environment: {A: '${B:-c}', PASSWORD: secret77}\n"
    "    depends_on: {b: {condition: service_healthy}}\n"
    "    healthcheck: {test: [CMD, curl, -f, 'http://localhost:8000/'], interval: 1m}\n"
    "  b: {image: 'redis:7', restart: always}\n",
    "process-compose.yaml": "processes:\n  a:\n    command: x\n    readiness_probe: {http_get: {port: 1, path: /}}\n"
    "    availability: {restart: always, max_restarts: 3}\n    shutdown: {signal: 2, command: y}\n",
    "supervisord.conf": '[program:a]\ncommand=x %(here)s\nenvironment=A="1",B="%(ENV_C)s"\nnumprocs=2\npriority=1\n',
    "ecosystem.json": '{"apps": [{"name": "a", "script": "./x", "args": "b c",\n"env": {"PORT": 1}, "instances": 2}]}',
    "package.json": '{"name": "x", "scripts": {"start": "y", "test": "z"}}',
}
ODD = (
    *("", "null", "~", "[]", "{}", "-1", "0", "9" * 30, "true", "'", '"', "${", "${A:-${B}}", "$$", "%(x)s", "\\"),
    *("{port}", "{x}", "{{", "#", "é", "\u202e", "a: b", "- x", "[x, {y: z}]", "&a", "*a", "<<: 1", "!x y", "1e400"),
)


@pytest.mark.parametrize("name", SEEDS)
def test_no_damage_to_a_file_ends_in_a_bug(tmp_path: Path, name: str) -> None:
    choose = random.Random(name)
    for number in range(150):
        text = SEEDS[name]
        for _ in range(choose.randint(1, 3)):
            start = choose.randrange(len(text) + 1)
            text = text[:start] + choose.choice(ODD) + text[start + choose.choice((0, 0, 1, 5)) :]
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / name).write_text(text)
        try:
            run_import(directory / name, directory, force=False)
        except UnloadableImportError:
            pytest.fail(f"does not load: {text!r}")
        except ToombosError:
            continue
