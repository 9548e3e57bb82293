"""hypercorn with HTTP/2, and an API whose jobs take a while."""

import shutil
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.foreign import UP, ForeignSystem, Keys, well
from tests.support.runner import data_of

PROGRAM = Path(__file__).parent / "programs" / "jobs.py"


def hypercorn(*options: str, bind: str = "{host}:{port}") -> list[str]:
    """Return the command that serves the jobs."""
    return ["{python}", "-m", "hypercorn", "--bind", bind, *options, "jobs:app"]


TLS = hypercorn("--certfile", "server.pem", "--keyfile", "server.pem")
HTTPS = {"scheme": "https", "ca_file": "authority.pem", "http2": True}


def in_version(version: str) -> Keys:
    """Return the key that expects the request to have arrived in this version of HTTP."""
    return {"health": {"path": "/health", "json": {"$.protocol": version}}}


WELL: dict[str, Keys] = {
    "HTTP/1.1": {"command": hypercorn()} | in_version("1.1"),
    "HTTP/2 without TLS": {"command": hypercorn(), "http2": True} | in_version("2"),
    "HTTP/2 with TLS": {"command": TLS} | HTTPS | in_version("2"),
    "HTTP/1.1 with TLS, although HTTP/2 is offered": {"command": TLS} | HTTPS | {"http2": False} | in_version("1.1"),
    "HTTP/2 behind a Unix socket": {"command": hypercorn(bind="unix:jobs.sock"), "unix": "jobs.sock", "http2": True}
    | in_version("2"),
}


@pytest.fixture(scope="module")
def servers(shared: ForeignSystem) -> ForeignSystem:
    """One server a row, all started by one `toombos start`."""
    shutil.copy(PROGRAM, shared.project)
    Authority(shared.project).issue(hosts=("127.0.0.1",)).rename(shared.project / "server.pem")
    for number, keys in enumerate(WELL.values()):
        shared.add(f"h{number}", **keys)
    shared.smoke({"name": "for-tests", "service": "h0", "path": "/health", "proves_dry_run": True})
    shared.start()
    return shared


def test_each_version_of_http_is_well_and_raises_no_alarm(servers: ForeignSystem) -> None:
    rows = servers.health()
    assert {sentence: well(rows[f"h{number}"]) for number, sentence in enumerate(WELL)} == dict.fromkeys(WELL, UP)
    shown = data_of(servers("status", "--json", exit_code=0))["services"]
    assert {row["phase"] for row in shown} == {"ready"}
    servers("smoke", "--wait", "5", exit_code=0)
    assert servers.alarms() == []


@pytest.mark.parametrize(
    ("service", "keys", "expected", "word"),
    [
        pytest.param("h1", {"health": "/slow", "probe_timeout_s": 0.3}, ("down", "timeout"), "0.3 s", id="a hang"),
        pytest.param("h1", {"health": "/nothing"}, ("down", "status"), "404", id="a route that there is not"),
        pytest.param("h2", {"ca_file": None, "scheme": "http"}, ("down", None), "TLS", id="no TLS where there is TLS"),
    ],
)
def test_what_is_wrong_over_http_2_is_named(
    servers: ForeignSystem, service: str, keys: Keys, expected: tuple[str, str | None], word: str
) -> None:
    before = servers.services[service]
    servers.change(service, **keys)
    try:
        row = servers.health(service)[service]
    finally:
        servers.services[service] = before
        servers.write()
    assert row["status"] == expected[0], row
    assert expected[1] in (None, row["reason"])
    assert word in row["detail"]


ORDER = {"name": "order", "service": "h0", "method": "POST", "path": "/jobs", "status": 202}
FOLLOWED = ORDER | {"capture": {"job": {"header": "Location"}}}
DONE = {"name": "done", "service": "h0", "path": "${job}", "json": {"$.state": "done", "$.progress": 100}}

JOBS: dict[str, tuple[list[Keys], dict[str, str]]] = {
    "a job that is polled until it is done": ([FOLLOWED, DONE | {"until": {"timeout_s": 5, "every_s": 0.1}}], {}),
    "a job whose number is captured": (
        [
            ORDER | {"capture": {"job": "$.id"}},
            DONE | {"path": "/jobs/${job}", "until": {"timeout_s": 5, "every_s": 0.1}},
        ],
        {},
    ),
    "a job that is asked for once, too early": ([FOLLOWED, DONE], {"done": "fail"}),
    "a job that takes longer than the step waits": (
        [FOLLOWED, DONE | {"until": {"timeout_s": 0.3, "every_s": 0.1}}],
        {"done": "fail"},
    ),
    "a job that ends badly": (
        [FOLLOWED | {"body": {"fails": True}}, DONE | {"until": {"timeout_s": 1.5, "every_s": 0.1}}],
        {"done": "fail"},
    ),
    "a job that is removed at the end": (
        [
            FOLLOWED | {"cleanup": {"path": "${job}"}},
            DONE | {"until": {"timeout_s": 5, "every_s": 0.1}},
        ],
        {},
    ),
}


@pytest.mark.parametrize("sentence", JOBS)
def test_smoke_waits_for_work_that_takes_a_while(servers: ForeignSystem, sentence: str) -> None:
    before = list(servers.steps)
    steps, failing = JOBS[sentence]
    servers.smoke(*steps)
    try:
        found = servers.smoke_steps()
    finally:
        servers.steps = before
        servers.write()
    assert {name: step["verdict"] for name, step in found.items() if step["verdict"] != "pass"} == failing, found
