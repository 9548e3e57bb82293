"""`--at`: the same checks of the system at another place, which never say what cannot be known from here."""

import http.server
import json
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.runner import clean_environment, data_of
from tests.support.servers import answer, serve_tls
from toombos_cli.main import main

TOKEN, LOCAL = "tok-4-Zebra-secret", "key-7-Local-secret"


class Recording(http.server.BaseHTTPRequestHandler):
    """A system that answers those who know its token, and says that it is in dry-run mode."""

    seen: list[tuple[str, str, dict[str, str]]]

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen.append((self.command, self.path, headers))
        metrics = self.path == "/metrics"
        body = b"# TYPE orders counter\norders_total 1\n" if metrics else b'{"status": "ok", "dry_run": true}'
        if headers.get("authorization") != f"Bearer {TOKEN}":
            body = b"who are you?"
            self.send_response(401)
        else:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain" if metrics else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815  (the name that the server calls)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the parent's name)
        """Stay silent."""


MANIFEST = """
[services.web]
command = ["true"]
port = {unused}
metrics = "/metrics"
ready = "/ready"
headers = {{ X-Api-Key = "${{env.LOCAL_KEY}}", X-Plain = "yes" }}
[services.db]
command = ["true"]
port = {other}
scheme = "tcp"
health = {{ command = ["true"] }}
[services.queue]
command = ["true"]
port = {third}
scheme = "tcp"
[services.worker]
command = ["true"]
scheme = "none"
[services.migrate]
command = ["true"]
kind = "task"
[modes.dry_run]
env = {{ DRY_RUN = "1" }}
[load]
service = "web"
path = "/load"
[[smoke]]
name = "dry"
service = "web"
path = "/health"
json = {{ dry_run = true }}
proves_dry_run = true
[[smoke]]
name = "read"
service = "web"
path = "/read"
[[smoke]]
name = "sockets"
service = "web"
loopback_only = true
[[smoke]]
name = "write"
service = "web"
method = "POST"
path = "/write"
{more}
[places.staging]
headers = {{ Authorization = "Bearer ${{env.TOKEN}}" }}
env_files = ["staging.env"]
{keys}
[places.staging.services]
web = "http://127.0.0.1:{port}"
queue = "tcp://127.0.0.1:{port}"
db = "tcp://127.0.0.1:{port}"
[places.gone]
host = "127.0.0.3"
"""


@pytest.fixture(scope="module")
def there() -> Iterator[tuple[int, list[tuple[str, str, dict[str, str]]]]]:
    """Yield the port of the system at the place, and the requests that it has seen."""
    handler = type("Handler", (Recording,), {"seen": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1], handler.seen
    server.shutdown()
    server.server_close()


class Place:
    """A project that describes the place."""

    def __init__(
        self, directory: Path, there: tuple[int, list[tuple[str, str, dict[str, str]]]], captured: Any
    ) -> None:
        self.directory, self._captured = directory, captured
        self.port, self.seen = there
        self.seen.clear()
        ports = dict(zip(("unused", "other", "third"), (free_port(), free_port(), free_port()), strict=True))
        self._values = {"port": self.port, **ports}
        self.describe()
        (directory / ".env").write_text(f"LOCAL_KEY={LOCAL}\nTOKEN=the-local-one\n")
        (directory / "staging.env").write_text(f"TOKEN={TOKEN}\n")
        for name in (".env", "staging.env"):
            (directory / name).chmod(0o600)

    def describe(self, keys: str = "", more: str = "") -> None:
        (self.directory / "toombos.toml").write_text(MANIFEST.format(keys=keys, more=more, **self._values))

    def run(self, *args: str) -> "subprocess.CompletedProcess[str]":
        """Run toombos in the project, in this process."""
        code = main(list(args))
        out, err = self._captured.readouterr()
        return subprocess.CompletedProcess(args, code, out, err)


@pytest.fixture
def place(
    tmp_path: Path,
    there: tuple[int, list[tuple[str, str, dict[str, str]]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Place:
    monkeypatch.chdir(tmp_path)
    for name in os.environ.keys() - clean_environment().keys():
        monkeypatch.delenv(name)
    return Place(tmp_path, there, capsys)


def test_health_asks_the_place_and_says_what_it_cannot_know(place: Place) -> None:
    done = place.run("health", "--at", "staging", "--json")
    data = data_of(done)
    assert (done.returncode, data["place"]) == (0, "staging"), done.stdout
    assert {s["name"]: s["verdict"] for s in data["services"]} == {"web": "pass", "queue": "pass"}
    assert {s["pid"] for s in data["services"]} == {None}  # the port of this machine leads to it, as with kubectl
    assert {s["name"]: s["detail"].startswith("not known here") for s in data["skipped"]} == {
        "db": True,
        "worker": True,
        "migrate": True,
    }
    assert (data["dry_run"], data["mode"], data["mode_text"]) == (False, None, "")
    (_, _, headers), *_ = place.seen
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert "x-api-key" not in headers
    assert headers["x-plain"] == "yes"
    assert TOKEN not in done.stdout + done.stderr


def test_a_service_that_is_named_but_not_known_is_a_skip(place: Place) -> None:
    done = place.run("health", "worker", "--at", "staging", "--json")
    assert json.loads(done.stdout)["verdict"] == "skip"
    assert place.run("health", "worker", "--at", "staging", "--strict").returncode == 1


def test_several_places_are_one_table_with_a_verdict_each(place: Place) -> None:
    shown = place.run("health", "--at", "all")
    assert shown.returncode == 1
    assert any("staging" in line and "PASS" in line and "web" in line for line in shown.stdout.splitlines())
    assert any("gone" in line and "FAIL" in line and "web" in line for line in shown.stdout.splitlines())
    data = data_of(place.run("health", "--at", "staging", "--at", "gone", "--json"))
    assert [(p["place"], {s["name"] for s in p["services"]}) for p in data["places"]] == [
        ("staging", {"web", "queue"}),
        ("gone", {"web", "queue"}),
    ]
    assert {s["fix"] for p in data["places"] for s in p["services"]} == {None}


def requests_of(place: Place) -> set[tuple[str, str]]:
    return {(method, path) for method, path, _ in place.seen}


KEYED = '[[smoke]]\nname = "keyed"\nservice = "web"\npath = "/k"\nheaders = { X-Key = "${env.LOCAL_KEY}" }\n'
REFUSALS = {
    "smoke writes to a place that does not allow it": (("smoke",), "", "writes = true under [places.staging]"),
    "load on a place that does not allow it": (("load",), "writes = true", "load = true under [places.staging]"),
    "load on an address of the place": (("load", "http://127.0.0.1:{port}/x"), "", "load = true"),
    "load on an address that the command line allows": (("load", "--allow-target", "127.0.0.1"), "", "load = true"),
    "smoke sends a variable to a place that may have none": (
        ("smoke", "--only", "keyed"),
        "writes = true",
        "variables = true under [places.staging]",
    ),
}


@pytest.mark.parametrize("row", REFUSALS)
def test_what_a_place_does_not_allow_is_refused_and_nothing_is_sent(place: Place, row: str) -> None:
    args, keys, hint = REFUSALS[row]
    place.describe(keys, KEYED if "keyed" in args else "")
    done = place.run(*(arg.format(port=place.port) for arg in args), "--at", "staging")
    assert done.returncode == 5, done.stdout + done.stderr
    assert hint in done.stderr
    assert place.seen == []


def test_smoke_writes_to_a_place_that_allows_it_and_says_that_it_is_dry(place: Place) -> None:
    place.describe("writes = true")
    done = place.run("smoke", "--at", "staging", "--json")
    steps = {s["name"]: s["verdict"] for s in data_of(done)["steps"]}
    assert (steps["dry"], steps["read"], steps["write"]) == ("pass", "pass", "pass"), done.stdout
    assert (steps["sockets"], steps["health-worker"], steps["health-db"]) == ("skip", "skip", "skip")
    assert ("POST", "/write") in requests_of(place)


def test_smoke_reads_from_a_place_that_does_not_allow_writing(place: Place) -> None:
    done = place.run("smoke", "--at", "staging", "--allow-live", "--json")
    steps = {s["name"]: s["verdict"] for s in data_of(done)["steps"]}
    assert (done.returncode, steps["read"], steps["write"]) == (0, "pass", "skip"), done.stdout
    assert {method for method, _ in requests_of(place)} == {"GET"}


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        pytest.param("", 1, id="by default"),
        pytest.param("insecure = true", 0, id="unless the place accepts any"),
        pytest.param('ca_file = "authority.pem"', 0, id="with the authority of the place"),
    ],
)
def test_a_certificate_is_verified_behind_a_port_of_this_machine_too(place: Place, keys: str, code: int) -> None:
    certificate = Authority(place.directory).issue("web", hosts=("127.0.0.1",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    handler = answer(b"{}", headers="Content-Type: application/json\r\n")
    with serve_tls(handler, place.directory, context) as port:
        secured = f'[places.tls]\n{keys}\nservices = {{ web = "https://127.0.0.1:{port}" }}\n'
        place.describe(more=secured)
        done = place.run("health", "web", "--at", "tls", "--json")
    assert done.returncode == code, done.stdout


def test_load_goes_to_a_place_that_allows_it_with_its_headers(place: Place) -> None:
    place.describe("load = true")
    done = place.run("load", "-n", "5", "-c", "2", "--at", "staging", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert data_of(done)["counts"]["ok"] == 5
    assert all(headers.get("authorization") for _, path, headers in place.seen if path == "/load")
    assert TOKEN not in done.stdout + done.stderr


def test_diagnose_judges_what_the_services_say_and_skips_the_rest(place: Place) -> None:
    done = place.run("diagnose", "--at", "staging", "--json")
    findings = data_of(done)["findings"]
    assert done.returncode == 0, done.stdout
    judged = {f["id"] for f in findings if f["verdict"] != "skip"}
    assert judged == {"http.status", "ready", "metrics.endpoint", "perf.latency"}
    assert len([f for f in findings if f["verdict"] == "skip"]) > 20


def test_diagnose_finds_a_place_that_does_not_answer(place: Place) -> None:
    done = place.run("diagnose", "--at", "gone", "--json")
    wrong = {(f["id"], f["service"]) for f in data_of(done)["findings"] if f["verdict"] == "fail"}
    assert (done.returncode, wrong) == (1, {("http.status", "web"), ("http.status", "queue")})


def test_monitoring_reads_the_metrics_of_the_place(place: Place) -> None:
    data = data_of(place.run("monitoring", "check", "--at", "staging", "--json"))
    assert data["place"] == "staging"
    assert not [item for item in data["items"] if "cannot be read" in item["detail"]]
    assert ("files", "skip") in {(item["group"], item["verdict"]) for item in data["items"]}
    assert ("GET", "/metrics") in requests_of(place)


USAGE = {
    "an unknown place": (("health", "--at", "stagin"), "did you mean 'staging'?"),
    "a log of this machine": (("health", "--at", "staging", "--log"), "--log"),
    "fixes": (("diagnose", "--at", "staging", "--fix"), "--fix"),
    "a service without an address": (("load", "--at", "nowhere"), "no address"),
}


@pytest.mark.parametrize("row", USAGE)
def test_what_makes_no_sense_at_a_place_is_a_usage_error(place: Place, row: str) -> None:
    args, said = USAGE[row]
    place.describe(more='[places.nowhere]\nload = true\nservices = { queue = "tcp://127.0.0.1:1" }\n')
    done = place.run(*args)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
