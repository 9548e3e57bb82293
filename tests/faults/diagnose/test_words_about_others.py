"""What servers and their clients say about each other: one root, at the service that has to change."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.foreign import ForeignSystem

SERVER = """
import socketserver, sys, threading, time
def say():
    while True:
        print({line!r}, file=sys.stderr, flush=True)
        time.sleep(0.3)
threading.Thread(target=say, daemon=True).start()
socketserver.ThreadingTCPServer.allow_reuse_address = True
class Silent(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(1)
socketserver.ThreadingTCPServer(("127.0.0.1", {port}), Silent).serve_forever()
"""
CLIENT = """
import http.server, sys
class Failing(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print({line!r}, file=sys.stderr, flush=True)
        self.send_response(500); self.end_headers()
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("127.0.0.1", {port}), Failing).serve_forever()
"""
NO_ENTRY = 'FATAL:  no pg_hba.conf entry for host "127.0.0.1", user "shop", database "shop", no encryption'
NO_TABLE = 'relation "orders" does not exist'
ROOTS = {
    "a server that lets nobody in, and a client that never became ready": (
        f"2026-11-29 02:38:00.157 UTC [151] {NO_ENTRY}",
        f"psycopg.OperationalError: connection failed: connection to server at 127.0.0.1 failed: {NO_ENTRY}",
        ("db", "log.db", "pg_hba.conf"),
    ),
    "a client that asks for a table that was never made": (
        f"2026-11-29 02:38:00.157 UTC [151] ERROR:  {NO_TABLE} at character 22",
        f"psycopg.errors.UndefinedTable: {NO_TABLE}",
        ("web", "log.db", "run the migrations of web"),
    ),
}


def add(system: ForeignSystem, name: str, program: str, source: str, line: str, **keys: Any) -> None:
    """Add a service whose program has this name and prints this line again and again."""
    script = system.project / program
    port = system.add(name, [sys.executable, str(script)], **keys)
    script.write_text(source.format(line=line, port=port))


@pytest.fixture(params=ROOTS)
def told(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[list[Any], tuple[str, str, str]]]:
    """The roots of a diagnosis while both services say what is wrong, and the expected one."""
    server, client, expected = ROOTS[request.param]
    system = ForeignSystem(tmp_path)
    add(system, "web", "shop.py", CLIENT, client, startup_timeout_s=1.5, depends_on=["db"])
    add(system, "db", "postgres", SERVER, server, scheme="tcp")
    try:
        system("start")
        yield [f for f in system.wrong() if not f["explained_by"]], expected
    finally:
        system("stop")


def test_the_fault_is_told_once_and_where_it_is(told: tuple[list[Any], tuple[str, str, str]]) -> None:
    roots, (service, check, fix) = told
    assert [(f["service"], f["id"], f["verdict"]) for f in roots] == [(service, check, "fail")]
    assert fix in roots[0]["fix"]["advice"]


BLOCKS = {
    "a syntax error of Node, whose place stands above it": (
        "main.js", "{cwd}/main.js:12\n}}\n^\n\nSyntaxError: Unexpected token '}}'", "main.js line 12"
    ),
    "an exception of Python, whose place stands in its traceback": (
        "shop.py",
        'Traceback (most recent call last):\n  File "{cwd}/shop.py", line 3, in <module>\n    total(1)\n'
        '  File "/usr/lib/python3/dist.py", line 9, in total\nKeyError: 4',
        "shop.py line 3",
    ),
    "an error of Node, whose place stands in the stack below it": (
        "main.js",
        "node:internal/url:797\n\nTypeError: Invalid URL\n    at new URL (node:internal/url:797:36)\n"
        "    at Object.<anonymous> ({cwd}/main.js:7:13)",
        "main.js line 7",
    ),
    "an unknown line of a parser, which names the place itself": (
        "proxy", 'proxy: [emerg] unknown log format "x" in {cwd}/proxy.conf:9', "proxy.conf line 9"
    ),
}  # fmt: skip

ENDS: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "a value of a variable that the message quotes": (
        [sys.executable, "-c", "import os; int(os.environ['WORKERS'])"],
        {"env": {"WORKERS": "eighty"}}, "correct WORKERS",
    ),
    "a module that a variable names": (
        [sys.executable, "-c", "import os; __import__(os.environ['SETTINGS'])"],
        {"env": {"SETTINGS": "shopsetings"}}, "correct SETTINGS",
    ),
    "a crash": (["sh", "-c", "kill -SEGV $$"], {}, "PYTHONFAULTHANDLER=1"),
    "a program that ends in order instead of serving": (["true"], {"scheme": "http"}, "in the foreground"),
    "a line of the configuration of Redis": (
        ["sh", "-c", "echo '*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***' >&2; "
         "echo \">>> 'dir \\\"/nowhere\\\"'\" >&2; echo 'No such file or directory' >&2; exit 1"],
        {}, 'correct dir "/nowhere"',
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The roots by service of a system whose services all end with an error; one has the port of another."""
    system = ForeignSystem(tmp_path_factory.mktemp("broken"))
    for number, (_, block, _) in enumerate(BLOCKS.values()):
        (system.project / f"block{number}").write_text(block.format(cwd=system.project) + "\n")
        command = ["sh", "-c", f"cat block{number} >&2; exit 1"]
        system.add(f"s{number}", command, scheme="none", restart={"policy": "never"})
    for number, (command, keys, _) in enumerate(ENDS.values()):
        system.add(f"e{number}", command, **{"scheme": "none", "restart": {"policy": "never"}} | keys)
    add(system, "db", "postgres", SERVER, "ready", scheme="tcp")
    port = system.services["db"]["port"]
    second = f"import socket; socket.create_server(('127.0.0.1', {port}))"
    system.add("second", [sys.executable, "-c", second], restart={"policy": "never"})
    try:
        for name in ("db", *system.services):
            system("start", name)
        yield {f["service"]: f for f in system.wrong() if f["verdict"] == "fail" and not f["explained_by"]}
    finally:
        system("stop")


@pytest.mark.parametrize("row", BLOCKS)
def test_the_fix_names_the_line_of_the_project_that_failed(row: str, broken: dict[str, Any]) -> None:
    root = broken[f"s{list(BLOCKS).index(row)}"]
    assert BLOCKS[row][2] in root["fix"]["advice"], root


@pytest.mark.parametrize("row", ENDS)
def test_the_fix_follows_from_how_it_ended(row: str, broken: dict[str, Any]) -> None:
    root = broken[f"e{list(ENDS).index(row)}"]
    assert ENDS[row][2] in root["fix"]["advice"], root


def test_a_port_that_another_service_has_is_told_with_both(broken: dict[str, Any]) -> None:
    root = broken["second"]
    assert "is taken by db, pid " in root["cause"], root
    assert "is that of db; give second another port" in root["fix"]["advice"]
