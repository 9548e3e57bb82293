"""node: where it listens, how it encodes its bodies, and responses that are unusual or wrong."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.foreign import UP, ForeignSystem, Keys, well
from tests.support.programs import needs
from tests.support.runner import data_of

PROGRAM = Path(__file__).parent / "programs" / "answers.js"
STATUS_OK = {"path": "/", "json": {"$.status": "ok", "$.note": "naïve café ☕"}}


def node(way: str, host: str = "{host}") -> list[str]:
    """Return the command that answers in this way."""
    return [needs("node"), str(PROGRAM), way, host, "{port}"]


WELL: dict[str, tuple[str, Keys]] = {
    "JSON with its length": ("plain", {"health": STATUS_OK}),
    "JSON in chunks": ("chunked", {"health": STATUS_OK}),
    "gzip": ("gzip", {"health": STATUS_OK}),
    "deflate": ("deflate", {"health": STATUS_OK}),
    "deflate without its frame": ("raw-deflate", {"health": STATUS_OK}),
    "UTF-16": ("utf16", {"health": STATUS_OK}),
    "UTF-8 with a byte order mark": ("bom", {"health": STATUS_OK}),
    "text in Latin-1": ("latin1", {"health": {"path": "/", "text": "café: all well"}}),
    "early hints before the response": ("hints", {"health": STATUS_OK}),
    "a trailer after the body": ("trailers", {"health": STATUS_OK}),
    "90 headers of 100 bytes": ("many-headers", {"health": STATUS_OK}),
    "HTTP/2 alone": ("http2", {"health": STATUS_OK, "http2": True}),
    "the address ::1 alone": ("plain", {"health": STATUS_OK, "host": "::1"}),
    "localhost, which node takes for one address": ("plain", {"health": STATUS_OK, "host": "localhost"}),
}

UNWELL: dict[str, tuple[str, Keys, tuple[str, str], str]] = {
    "a response that switches protocols": ("upgrade", {}, ("down", "status"), "101"),
    "half a body": ("half-a-body", {}, ("down", "reset"), "closed"),
    "half a compressed body": ("cut-short", {}, ("degraded", "body"), "gzip"),
    "two codings, one inside the other": ("twice", {}, ("degraded", "body"), "deflate, gzip"),
    "a coding that nobody knows": ("unknown", {}, ("degraded", "body"), "snappy"),
    "a transfer coding that nobody uses": ("transfer-gzip", {}, ("down", "body"), "Transfer-Encoding"),
    "HTTP/2 alone, asked in HTTP/1.1": ("http2", {}, ("down", "body"), "HTTP/2"),
    "a value that is not the expected one": (
        "gzip",
        {"health": {"path": "/", "json": {"$.note": "naïve tea"}}},
        ("degraded", "body"),
        "$.note",
    ),
}


@pytest.fixture(scope="module")
def healthy(shared: ForeignSystem) -> ForeignSystem:
    """One node a row, all started by one `toombos start`."""
    for number, (way, keys) in enumerate(WELL.values()):
        shared.add(f"n{number}", node(way), **keys)
    shared.start()
    return shared


def test_all_that_node_sends_well_is_well(healthy: ForeignSystem) -> None:
    rows = healthy.health()
    found = {sentence: (*well(rows[f"n{n}"]), rows[f"n{n}"]["detail"]) for n, sentence in enumerate(WELL)}
    assert found == dict.fromkeys(WELL, (*UP, ""))
    shown = data_of(healthy("status", "--json", exit_code=0))["services"]
    assert {row["phase"] for row in shown} == {"ready"}
    healthy("smoke", "--wait", "5", exit_code=0)
    assert healthy.alarms() == []


@pytest.fixture(scope="module")
def unhealthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Keys]]:
    """What health says of each unhealthy row; they were started as programs that only have to listen."""
    system = ForeignSystem(tmp_path_factory.mktemp("unhealthy"))
    names = {f"n{number}": row for number, row in enumerate(UNWELL.values())}
    for name, (way, *_) in names.items():
        system.add(name, node(way), scheme="tcp")
    system.start()
    for name, (_, keys, *_) in names.items():
        system.change(name, **{"scheme": None, "health": "/", "probe_timeout_s": 1} | keys)
    yield system.health()
    system.stop()


@pytest.mark.parametrize("sentence", UNWELL)
def test_what_node_sends_wrongly_is_named(unhealthy: dict[str, Keys], sentence: str) -> None:
    _, _, expected, word = UNWELL[sentence]
    row = unhealthy[f"n{list(UNWELL).index(sentence)}"]
    assert well(row) == expected, row
    assert word in row["detail"]


@pytest.mark.parametrize("sentence", UNWELL)
def test_start_does_not_call_it_ready(system: ForeignSystem, sentence: str) -> None:
    way, keys, _, word = UNWELL[sentence]
    system.add("web", node(way), **{"health": "/", "startup_timeout_s": 0.8} | keys)
    done = system("start")
    assert done.returncode == 4, done.stdout + done.stderr
    assert word in done.stderr


def test_a_server_on_another_address_of_the_machine_is_named_with_it(system: ForeignSystem) -> None:
    port = system.add("web", node("plain", "::1"), health="/", startup_timeout_s=0.8)
    done = system("start")
    assert done.returncode == 4
    assert f"[::1]:{port}" in done.stderr
    system.change("web", host="::1")
    system.start()
    system.change("web", host=None)
    row = system.health()["web"]
    assert well(row) == ("down", "refused")
    assert f"[::1]:{port}" in row["detail"]


def test_a_program_that_crashes_at_its_start_is_named_with_its_own_words(system: ForeignSystem) -> None:
    system.add("web", node("crash"), health="/", restart={"policy": "never"})
    done = system("start")
    assert done.returncode == 4
    assert "code: 'MODULE_NOT_FOUND'" in done.stderr


def test_a_program_that_hangs_is_down_and_well_again_afterwards(system: ForeignSystem) -> None:
    system.add("web", node("plain"), health="/", probe_timeout_s=0.5, probe_interval_s=60)
    system.start()
    os.kill(system.pid("web"), signal.SIGSTOP)
    try:
        assert well(system.health()["web"]) == ("down", "stopped")
    finally:
        os.kill(system.pid("web"), signal.SIGCONT)
    assert well(system.health()["web"]) == UP
