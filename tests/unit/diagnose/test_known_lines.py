# ruff: noqa: E501  (a table is read by its rows)
"""The packaged knowledge base: each entry finds its own examples and no others', and no entry finds a harmless line."""

import sys
from collections import Counter
from pathlib import Path

import pytest

from toombos_cli.diagnose import known
from toombos_cli.diagnose.checks.log_evidence import may_complain
from toombos_cli.diagnose.facts.logs import is_telling
from toombos_cli.diagnose.known.catalogue import FILES, all_lines, catalogue, first_match, of_other_packages
from toombos_cli.diagnose.known.recognition import names_of
from toombos_cli.manifest.tables.known import KnownLine, literal_of

LINES = tuple(all_lines())
EXAMPLES = [
    pytest.param(name, line, example, id=f"{line.id}: {example[:60]}")
    for name, line in LINES
    for example in line.examples
]


def find(text: str, program: str = "", *, complains: bool = True, at_end: bool = True) -> str:
    """Return the id of the first entry that finds the line in the log of a program."""
    found = first_match(
        catalogue(()).possible([text]), text, complains=complains, is_last_word=at_end, programs={program: ""}
    )
    return found[0].line.id if found else ""


def test_every_file_of_the_knowledge_base_is_listed():
    (place,) = known.__path__
    assert sorted(path.stem for path in Path(place).glob("*.toml")) == sorted(FILES)


def test_each_id_is_used_once_and_begins_with_its_file():
    assert [name for name, count in Counter(line.id for _, line in LINES).items() if count > 1] == []
    assert [line.id for name, line in LINES if not line.id.startswith(f"{name}.")] == []


@pytest.mark.parametrize(("name", "line"), [pytest.param(*both, id=both[1].id) for both in LINES])
def test_an_entry_is_complete(name: str, line: KnownLine):
    assert list(line.flaws()) == []
    assert line.examples
    assert not line.cause.endswith(".")


@pytest.mark.parametrize(("name", "line", "example"), EXAMPLES)
def test_an_example_is_found_by_its_own_entry_and_by_none_before_it(name: str, line: KnownLine, example: str):
    assert find(example, name) == line.id
    assert literal_of(line.pattern) in example.lower()


@pytest.mark.parametrize(("name", "line", "example"), EXAMPLES)
def test_an_example_without_a_level_is_among_the_lines_of_a_log_that_are_looked_at(
    name: str, line: KnownLine, example: str
):
    assert not line.own or line.severity == "note" or (is_telling(example) and may_complain(example))


HARMLESS = {
    "a start of PostgreSQL": ("postgresql", "2026-11-29 02:38:02.616 UTC [207] LOG:  listening on IPv4 address \"127.0.0.1\", port 5432"),
    "PostgreSQL is ready": ("postgresql", "2026-11-29 02:38:02.616 UTC [207] LOG:  database system is ready to accept connections"),
    "a checkpoint": ("postgresql", "2026-11-29 02:38:02.616 UTC [207] LOG:  checkpoint starting: shutdown immediate"),
    "a recovery after a crash": ("postgresql", "2026-11-29 02:38:02.616 UTC [207] LOG:  database system was not properly shut down; automatic recovery in progress"),
    "Redis is ready": ("redis", "33:M 29 Nov 2026 02:38:54.865 * Ready to accept connections"),
    "Redis says goodbye": ("redis", "33:M 29 Nov 2026 02:38:54.865 # Redis is now ready to exit, bye bye..."),
    "Redis was asked to stop": ("redis", "33:M 29 Nov 2026 02:38:54.865 # User requested shutdown..."),
    "Redis has no configuration": ("redis", "33:C 29 Nov 2026 02:38:54.865 # Warning: no config file specified, using the default config."),
    "MariaDB is ready": ("mysql", "2026-11-29  2:38:00 0 [Note] /usr/sbin/mariadbd: ready for connections."),
    "a start of gunicorn": ("python_servers", "[2026-11-29 02:46:45 +0000] [23] [INFO] Listening at: http://127.0.0.1:8000 (23)"),
    "a worker of gunicorn": ("python_servers", "[2026-11-29 02:46:45 +0000] [24] [INFO] Booting worker with pid: 24"),
    "gunicorn ends": ("python_servers", "[2026-11-29 02:46:45 +0000] [23] [INFO] Shutting down: Master"),
    "uvicorn is ready": ("python_servers", "INFO:     Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)"),
    "an access line of uvicorn": ("python_servers", 'INFO:     127.0.0.1:39000 - "GET /error?timeout=1 HTTP/1.1" 200 OK'),
    "an access line of nginx": ("nginx", '127.0.0.1 - - [29/Nov/2026:02:48:34 +0000] "GET /failed HTTP/1.1" 200 145'),
    "celery is ready": ("celery", "[2026-11-29 02:49:34,746: INFO/MainProcess] celery@shop ready."),
    "a task succeeded": ("celery", "[2026-11-29 02:49:34,760: INFO/ForkPoolWorker-1] Task ce.add[0b9a4c1e] succeeded in 0.1s: None"),
    "a request of Django": ("django", '[29/Nov/2026 02:48:34] "GET /orders HTTP/1.1" 200 145'),
    "a start of Node": ("node", "Server listening on port 3000"),
    "a start of a Go program": ("go", "2026/11/29 02:39:33 listening on 127.0.0.1:8080"),
    "a start of Spring": ("java", "2026-11-29 02:39:33.100  INFO 1 --- [main] shop.Application : Started Application in 2.1 seconds"),
    "Prometheus is ready": ("prometheus", 'ts=2026-11-29T02:51:30.071Z caller=main.go:1023 level=info msg="Server is ready to receive web requests."'),
    "a start of Caddy": ("proxies", '{"level":"info","ts":1795919927.0286233,"msg":"using provided configuration","config_file":"Caddyfile"}'),
    "a start of the dry-run system": ("toombos", "2026-11-29T02:39:33Z INFO services.common.server startup complete, listening on 127.0.0.1:8000"),
    "a sentence about errors": ("", "INFO shop: no error, nothing failed, the address is in use by us alone"),
    "a timeout that is set": ("", "INFO shop: timeout set to 30 s, pool limit 5"),
    "a word in a path": ("", "INFO GET /docs/database-is-locked 200"),
}  # fmt: skip


@pytest.mark.parametrize("row", HARMLESS)
def test_a_harmless_line_of_a_running_service_is_none_that_is_known(row: str):
    program, text = HARMLESS[row]
    assert find(text, program, complains=False, at_end=False) == ""


@pytest.mark.parametrize("row", [row for row in HARMLESS if HARMLESS[row][0]])
def test_a_harmless_line_is_no_last_word_of_a_program_either(row: str):
    program, text = HARMLESS[row]
    assert find(text, program, complains=False) == ""


PROGRAMS = {
    "by its executable": (["/usr/lib/postgresql/15/bin/postgres", "-D", "data"], "", {"postgresql": ""}),
    "by its last line": (["./start"], "33:M 29 Nov 2026 02:38:54.865 * Ready to accept connections", {"redis": ""}),
    "behind a shell": (["sh", "-c", "cd x && exec redis-server x.conf"], "", {"redis": ""}),
    "behind env": (["/usr/bin/env", "A=1", "nginx", "-g", "daemon off;"], "", {"nginx": ""}),
    "as a module of Python": (["/srv/venv/bin/python", "-m", "celery", "-A", "x", "worker"], "", {"celery": "", "python": ""}),
    "by its script": (["/srv/venv/bin/gunicorn", "shop.wsgi"], "", {"python_servers": "", "django": ""}),
    "as what nobody knows": (["./shop"], "listening", {}),
    "with its version": (
        ["postgres"], "2026-11-29 02:38:02.616 UTC [207] LOG:  starting PostgreSQL 15.18 (Debian) on x86_64", {"postgresql": "15.18"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", PROGRAMS)
def test_a_service_is_recognised(row: str):
    command, line, expected = PROGRAMS[row]
    assert catalogue(()).programs_of(names_of([command]), [line]) == expected


TOOL = "[program]\nname = 'flux'\ncommands = ['fluxd']\n[[known]]\nid = 'flux.low'\npattern = 'flux (?P<unit>\\w+) is low'\ncause = 'unit {unit} has no supply'\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(TOOL + "advice = 'turn it off and on'\n", "", id="a file that is right"),
        pytest.param(TOOL, "fix or advice is needed", id="a line without advice"),
        pytest.param(TOOL + "advice = '{nothing}'\n", "no value for {nothing}", id="an unknown name in a text"),
        pytest.param(TOOL + "colour = 'red'\n", "colour", id="an unknown key"),
        pytest.param("[program\n", "expected ']'", id="a file that is no TOML"),
        pytest.param(None, "No such file", id="no file"),
    ],
)
def test_a_package_adds_its_lines_and_a_faulty_one_is_only_reported(
    text: str | None, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "flux.toml"
    if text is not None:
        file.write_text(text)
    (tmp_path / "flux_lines.py").write_text(f"FILE = {str(file)!r}\n")
    info = tmp_path / "flux-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flux\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[toombos.known]\nflux = flux_lines:FILE\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    of_other_packages.cache_clear()
    try:
        files, problems = of_other_packages()
    finally:
        of_other_packages.cache_clear()
        sys.modules.pop("flux_lines", None)
    assert ([file.program.name for file in files], len(problems)) == (([], 1) if problem else (["flux"], 0))
    assert all(problem.lower() in text.lower() for text in problems), problems
