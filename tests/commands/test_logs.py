"""`toombos logs` on the logs of two services, which need not run for it."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.runner import run_toombos
from tests.support.terminal import on_a_terminal
from toombos_cli.project.own_requests import OwnRequests

MANIFEST = """\
name = "logs"
[services.api]
command = ["sleep", "99"]
scheme = "none"
[services.worker]
command = ["sleep", "99"]
scheme = "none"
env = { TZ = "Asia/Tokyo" }
"""
API = """\
2026-11-28T09:00:00Z INFO began
2026-11-28T10:00:00Z ERROR one broke
  because of this
2026-11-28T11:00:00Z INFO GET /health 200
2026-11-28T12:00:00Z INFO ended
"""
WORKER = """\
2026-11-28 18:30:00 INFO in Tokyo, 09:30 UTC
2026-11-28 20:30:00 INFO in Tokyo, 11:30 UTC
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "toombos.toml").write_text(MANIFEST)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "api.log").write_text(API)
    (tmp_path / "logs" / "worker.log").write_text(WORKER)
    return tmp_path


def shown(project: Path, *args: str, exit_code: int = 0) -> list[str]:
    done = run_toombos("logs", *args, cwd=project)
    assert done.returncode == exit_code, done.stderr
    return done.stdout.splitlines()


def last_words(lines: list[str]) -> list[str]:
    return [line.split()[-1] for line in lines]


SELECTIONS: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "all": ((), ["began", "UTC", "broke", "this", "200", "UTC", "ended"]),
    "errors with their continuation": (("--errors",), ["broke", "this"]),
    "a pattern in the first line": (("--grep", "one"), ["broke", "this"]),
    "a pattern in a continuation": (("--grep", "because"), ["broke", "this"]),
    "without a pattern": (("--exclude", "/health"), ["began", "UTC", "broke", "this", "UTC", "ended"]),
    "without two patterns": (("--exclude", "/health", "--exclude", "Tokyo"), ["began", "broke", "this", "ended"]),
    "without an error": (("--exclude", "broke"), ["began", "UTC", "200", "UTC", "ended"]),
    "since a time": (("--since", "2026-11-28T10:30:00Z"), ["200", "UTC", "ended"]),
    "until a time": (("--until", "2026-11-28T10:30:00Z"), ["began", "UTC", "broke", "this"]),
    "a span": (("--since", "2026-11-28T09:15Z", "--until", "2026-11-28T10:30:00Z"), ["UTC", "broke", "this"]),
    "the last until a time": (("-n", "1", "--until", "2026-11-28T11:00:00Z"), ["UTC", "200"]),
}


@pytest.mark.parametrize(("args", "words"), SELECTIONS.values(), ids=SELECTIONS.keys())
def test_the_lines_that_are_selected_are_shown_by_time(project: Path, args: tuple[str, ...], words: list[str]) -> None:
    assert last_words(shown(project, *args)) == words


NAMES = {
    "all services": ((), True),
    "two of two, one with hits": (("--errors",), True),
    "two by name, one with hits": (("--errors", "api", "worker"), True),
    "one by name": (("--errors", "api"), False),
}


@pytest.mark.parametrize(("args", "named"), NAMES.values(), ids=NAMES.keys())
def test_the_name_stands_on_every_line_if_several_services_were_asked_for(
    project: Path, args: tuple[str, ...], named: bool
) -> None:
    lines = shown(project, *args)
    assert lines
    assert all(bool(re.match(r"(api|worker) +\| ", line)) is named for line in lines)


def test_lines_of_the_own_requests_of_this_project_can_be_left_out(project: Path) -> None:
    (project / "run").mkdir()
    own, foreign = OwnRequests.of(project).new_id("smoke"), "toombos-smoke-0123456789abcdef-0123456789abcdef"
    with (project / "logs" / "api.log").open("a") as log:
        for number, request_id in enumerate((own, foreign, "abc")):
            log.write(json.dumps({"level": "ERROR", "message": f"m{number}", "request_id": request_id}) + "\n")
    assert [json.loads(line)["message"] for line in shown(project, "api", "-n", "3")] == ["m0", "m1", "m2"]
    assert [json.loads(line)["message"] for line in shown(project, "api", "-n", "2", "--no-smoke")] == ["m1", "m2"]


MISTAKES = {
    "a bad pattern": (("--exclude", "("), "--exclude '(' is not a regular expression"),
    "a bad time": (("--until", "soon"), "--until 'soon' is not a time"),
    "an end time for a log that is followed": (("-f", "--until", "1h"), "--until has no meaning with --follow"),
}


@pytest.mark.parametrize(("args", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_in_an_option_is_a_usage_error(project: Path, args: tuple[str, ...], message: str) -> None:
    done = run_toombos("logs", *args, cwd=project)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


COLOURED = "\x1b[31mERROR\x1b[0m in red\r\n\x1b[2J\x1b]0;owned\x07plain\n1%\r50%\r100%\n"


@pytest.mark.parametrize("where", ["a pipe", "JSON", "a terminal"])
def test_no_escape_of_a_service_is_printed(project: Path, where: str) -> None:
    (project / "logs" / "api.log").write_text(COLOURED)
    expected = ["ERROR in red", "plain", "100%"]
    if where == "a terminal":
        text = on_a_terminal("logs", "api", cwd=project, width=80, env={})
        assert "owned" not in text
        assert [line.rstrip() for line in text.splitlines()] == expected
    elif where == "JSON":
        data = json.loads("\n".join(shown(project, "api", "--json")))["data"]
        assert [line["line"] for line in data["lines"]] == expected
    else:
        assert shown(project, "api") == expected
    assert shown(project, "api", "--errors") == ["ERROR in red"]
    assert shown(project, "api", "--grep", "red$") == ["ERROR in red"]


def test_a_json_line_is_readable_on_a_terminal_and_unchanged_in_a_pipe(project: Path) -> None:
    line = '{"timestamp": "2026-11-28T10:00:00Z", "level": "ERROR", "message": "it broke", "status": 500, "path": "/x"}'
    (project / "logs" / "api.log").write_text(f"{line}\n")
    assert shown(project, "api") == [line]
    text = on_a_terminal("logs", "api", cwd=project, width=80, env={"TZ": "UTC"})
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).strip()
    assert plain == "10:00:00 ERROR it broke status=500 path=/x"


Change = Callable[[Path], None]
ODD: dict[str, Change] = {
    "a directory": lambda path: path.mkdir(),
    "a link": lambda path: path.symlink_to("/dev/full"),
    "a FIFO": os.mkfifo,
}


@pytest.mark.parametrize("make", ODD.values(), ids=ODD.keys())
def test_a_log_that_is_no_file_is_refused_at_once(project: Path, make: Change) -> None:
    log = project / "logs" / "api.log"
    log.unlink()
    make(log)
    for command in (("logs",), ("start",), ("status",)):
        done = run_toombos(*command, cwd=project, timeout_s=30)
        assert done.returncode in ((4, 5) if command != ("status",) else (1,)), (command, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
    run_toombos("stop", cwd=project)
