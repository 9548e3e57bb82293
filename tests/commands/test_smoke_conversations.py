"""Smoke steps for services that speak no HTTP: a banner, a question and its answer."""

import re
import time
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.servers import serve
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.smoke import exchange
from toombos_cli.smoke.environment import read_environment
from toombos_cli.smoke.plan import make_plan
from toombos_cli.smoke.run import run_smoke


def greet(connection):
    connection.sendall(b"220 mail.example ESMTP\r\n")
    while connection.recv(100):
        connection.sendall(b"250 OK\r\n")


def redis(connection):
    while data := connection.recv(100):
        connection.sendall(b"+PONG\r\n" if data == b"PING\r\n" else b"-ERR unknown command\r\n")


def slowly(connection):
    for part in (b"PO", b"NG\xff\r\n"):
        connection.sendall(part)
        time.sleep(0.05)


def silent(connection):
    connection.recv(100)
    time.sleep(5)


def closing(connection):
    connection.sendall(b"busy")


def drip(connection):
    while True:
        connection.sendall(b"x")
        time.sleep(0.01)


def endless(connection):
    while True:
        connection.sendall(b"x" * 65536)


def binary(connection):
    connection.sendall(b"\x00\xff" + connection.recv(100)[::-1])


def smoke(project: Path, port: int, text: str):
    service = f'[services.raw]\ncommand = ["unused"]\nport = {port}\nscheme = "tcp"\noptional = true\n'
    (project / "toombos.toml").write_text(f'{service}[[smoke]]\nname = "talk"\nservice = "raw"\n{text}\n')
    manifest = load_manifest(project)
    report = run_smoke(manifest, make_plan(manifest), environment=read_environment(manifest))
    return next(step for step in report.steps if step.name == "talk")


# server, step, verdict, what it got
CONVERSATIONS = {
    "a banner": (greet, 'expect = "^220 "', "pass", "220 mail.example"),
    "a question": (redis, 'send = "PING\\r\\n"\nexpect = "^\\\\+PONG"\nwrites = false', "pass", "+PONG"),
    "another answer": (redis, 'send = "PUNG\\r\\n"\nexpect = "PONG"\nwrites = false\ntimeout_s = 0.2', "fail", "-ERR"),
    "an answer in pieces": (slowly, 'expect = "PONG"', "pass", "PONG"),
    "bytes": (binary, 'send_hex = "00ff01"\nexpect = "\\\\xff\\\\x01\\\\xff"\nwrites = false', "pass", "\\x00"),
    "something to send alone": (greet, 'send = "QUIT\\r\\n"\nwrites = false', "pass", ""),
    "no answer": (silent, 'expect = "x"\ntimeout_s = 0.2', "fail", "nothing, after 0.2 s"),
    "an end too soon": (closing, 'expect = "ready"', "fail", "busy, then the service closed the connection"),
    "a byte at a time, without end": (drip, 'expect = "ready"\ntimeout_s = 0.3', "fail", "after 0.3 s"),
    "too much": (endless, 'expect = "ready"', "fail", "after 64.0 KiB"),
    "a capture": (greet, 'expect = "220"\ncapture = { host = { text = "220 ([a-z.]+)" } }', "pass", "220"),
    "a capture of nothing": (greet, 'expect = "220"\ncapture = { x = { text = "(zzz)" } }', "fail", "nothing for ${x}"),
    "until it is there": (closing, 'expect = "x"\nuntil = { timeout_s = 0.2, every_s = 0.05 }', "fail", "busy"),
}


@pytest.mark.parametrize(("server", "text", "verdict", "got"), CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_a_conversation_ends_with(tmp_path, server, text, verdict, got):
    with serve(server) as port:
        result = smoke(tmp_path, port, text)
    assert result.verdict == verdict, result
    assert got in result.got
    assert result.request.startswith(f"connect tcp://127.0.0.1:{port}")


def test_a_send_is_a_write_unless_the_step_says_otherwise(tmp_path):
    with serve(redis) as port:
        result = smoke(tmp_path, port, 'send = "PING\\r\\n"\nexpect = "PONG"')
    assert result.verdict == "skip"
    assert "writes = false" in result.detail


def test_a_slow_expression_is_an_error_of_the_step(tmp_path, monkeypatch):
    monkeypatch.setattr(exchange, "_JUDGE_S", 0.1)

    def server(connection):
        connection.sendall(b"a" * 60 + b"b")

    with serve(server) as port:
        result = smoke(tmp_path, port, 'expect = "(a+)+$"\ntimeout_s = 0.3')
    assert result.verdict == "error"


def test_nothing_that_listens_skips_an_optional_step(tmp_path):
    assert smoke(tmp_path, free_port(), 'expect = "x"\noptional = true').verdict == "skip"


@pytest.mark.parametrize(
    ("scheme", "demand"),
    [
        pytest.param("tcp", 'send = "x"\nexpect = "y"\nwrites = false', id="over TCP"),
        pytest.param("http", 'path = "/"', id="over HTTP"),
    ],
)
def test_the_time_that_was_left_for_the_last_attempt_is_shown_rounded(tmp_path, scheme, demand):
    with serve(silent) as port:
        (tmp_path / "toombos.toml").write_text(
            f'[services.raw]\ncommand = ["unused"]\nport = {port}\nscheme = "{scheme}"\n'
            'health = { command = ["true"] }\n'
            f'[[smoke]]\nname = "talk"\nservice = "raw"\n{demand}\ntimeout_s = 0.2\n'
            "until = { timeout_s = 0.5, every_s = 0.03 }\n"
        )
        manifest = load_manifest(tmp_path)
        report = run_smoke(manifest, make_plan(manifest), environment=read_environment(manifest))
    result = report.steps[-1]
    assert result.verdict == "fail"
    assert re.search(r"(after|within) 0\.\d{1,2} s", result.got), result.got
