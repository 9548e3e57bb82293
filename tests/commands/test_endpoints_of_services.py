"""Every caller reaches a service as the manifest describes: over TLS with its own authority, or by its Unix socket."""

import json
import ssl

import pytest

from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.servers import read_request, serve_tls, serve_unix
from toombos_cli.alerts.receiver import prometheus_is_silent
from toombos_cli.base.results import Verdict
from toombos_cli.diagnose.facts.access import ACCESS
from toombos_cli.diagnose.facts.source import LiveFacts
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.monitoring import check, operations
from toombos_cli.monitoring.grafana import password_file, provisioned_dashboards

KEY = "key-of-the-tests-9"
DOCUMENT = {"openapi": "3.1.0", "paths": {"/orders": {"get": {"security": [{"key": []}]}}}}


def respond(connection):
    """Play every service: healthy, with a document, a route that needs a key, and a dashboard."""
    head = read_request(connection).decode("latin-1").lower()
    if not head:  # something looked whether anybody listens
        return
    path = head.split()[1].partition("?")[0]
    key = next((line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("x-api-key: ")), None)
    bodies = {"/openapi.json": DOCUMENT, "/api/search": [{"uid": "u"}]}
    body = json.dumps(bodies.get(path, {"status": "ok"})).encode()
    status = 401 if path == "/orders" and key != KEY else 200
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)


@pytest.fixture(params=["over TLS with an authority", "at a Unix socket"])
def declared(request, tmp_path):
    """Return a function that loads a manifest with one service, which `respond` plays."""

    def load(address: str):
        def manifest(name: str, more: str = ""):
            text = f'[services.{name}]\ncommand = ["sleep"]\n{address}openapi = "/openapi.json"\n{more}'
            (tmp_path / "toombos.toml").write_text(text)
            return load_manifest(tmp_path)

        return manifest

    if request.param == "at a Unix socket":
        with serve_unix(respond, tmp_path / "app.sock"):
            yield load('unix = "app.sock"\n')
        return
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(hosts=("127.0.0.1",)))
    with serve_tls(respond, tmp_path, context) as port:
        yield load(f'port = {port}\nscheme = "https"\nca_file = "{authority.ca_file}"\n')


def test_the_receiver_asks_prometheus(declared):
    assert not prometheus_is_silent(declared("prometheus"))


def test_monitoring_check_asks_alertmanager(declared):
    prometheus = f'[services.prometheus]\nrole = "monitoring"\ncommand = ["sleep"]\nport = {free_port()}\n'
    items = check.run_check(declared("alertmanager", f'role = "monitoring"\n{prometheus}')).items
    assert [item.verdict for item in items if (item.group, item.name) == ("alertmanager", "responds")] == [Verdict.PASS]


def test_monitoring_status_asks_each_service(declared):
    report = operations.run_status(declared("prometheus", 'role = "monitoring"\n'))
    assert [row.detail for row in report.services] == ["another program responds there: toombos did not start it"]


def test_monitoring_asks_grafana(declared, tmp_path):
    password_file(tmp_path).parent.mkdir(parents=True)
    password_file(tmp_path).write_text("secret")
    assert provisioned_dashboards(declared("grafana")) == {"u"}


def test_diagnose_tries_the_access_key(declared, tmp_path):
    (tmp_path / ".env").write_text(f"API_KEY={KEY}\n")
    (tmp_path / ".env").chmod(0o600)
    more = '[environment.API_KEY]\ndescription = "a key"\nsecret = true\nrole = "access_key"\nused_by = ["shop"]\n'
    (found,) = LiveFacts(declared("shop", more)).get(ACCESS)
    assert (found.without, found.wrong, found.right) == (401, 401, 200)


def test_diagnose_tries_each_key_although_the_service_has_headers(declared, tmp_path):
    (tmp_path / ".env").write_text(f"API_KEY={KEY}\n")
    (tmp_path / ".env").chmod(0o600)
    more = 'headers = { x-api-key = "${env.API_KEY}" }\n'
    more += '[environment.API_KEY]\ndescription = "a key"\nsecret = true\nrole = "access_key"\nused_by = ["shop"]\n'
    (found,) = LiveFacts(declared("shop", more)).get(ACCESS)
    assert (found.without, found.wrong, found.right) == (401, 401, 200)
