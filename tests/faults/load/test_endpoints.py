"""Targets that need more than a URL: Unix sockets, certificates of both sides, and servers of HTTP/2 alone."""

import contextlib
import json
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.loading import errors_of, plan_for, report_of
from tests.support.runner import Toombos
from tests.support.servers import read_request, serve, serve_tls, serve_unix
from toombos_cli.load.engine.fleet import run_engine
from toombos_cli.load.target_endpoint import unix_place

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Heard:
    """A handler that responds to every request and remembers their heads."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []

    def __call__(self, connection) -> None:
        while head := read_request(connection):
            self.heads.append(head)
            connection.sendall(OK)


PLACES = {
    "unix:/run/a.sock": ("http", "/run/a.sock", "http://localhost/"),
    "http://unix:/run/a.sock": ("http", "/run/a.sock", "http://localhost/"),
    "http://unix:/run/a.sock:/x?y=1": ("http", "/run/a.sock", "http://localhost/x?y=1"),
    "https://unix:a.sock:/": ("https", "a.sock", "https://localhost/"),
    "http://unix:8000/": None,
    "http://localhost/": None,
}


@pytest.mark.parametrize(("text", "expected"), PLACES.items(), ids=PLACES)
def test_a_place_on_a_unix_socket_is_recognised(text, expected):
    found = unix_place(text)
    assert (found and (found.scheme, str(found.path), found.url)) == expected


def load(toombos: Toombos, *args: str) -> tuple[int, dict]:
    """Return the exit code and the data of a run of six requests."""
    done = toombos("--json", "load", *args, "-n", "6", "-c", "2")
    document = json.loads(done.stdout or done.stderr)
    return done.returncode, document.get("data") or document


@pytest.mark.parametrize("typed", ["the default target", "its socket"])
def test_a_unix_socket_is_loaded(typed, toombos: Toombos, project: Path):
    heard = Heard()
    path = project / "app.sock"
    (project / "toombos.toml").write_text(
        f'[services.app]\ncommand = ["app"]\nunix = "{path}"\n[load]\nservice = "app"\npath = "/x"\n'
    )
    with serve_unix(heard, path):
        code, data = load(toombos, *([] if typed == "the default target" else [f"http://unix:{path}:/x"]))
    assert code == 0, data
    assert data["counts"]["ok"] == len(heard.heads) == 6
    assert heard.heads[0].startswith(b"GET /x HTTP/1.1\r\nHost: localhost\r\n")
    assert data["plan"]["address"] == f"unix:{path}"
    assert [(server["name"], server["pid"]) for server in data["server"]] in ([], [("app", os.getpid())])


def test_a_unix_socket_that_nobody_listens_on_is_reported(toombos: Toombos, project: Path):
    done = toombos("load", f"unix:{project}/none.sock")
    assert done.returncode == 4
    assert f"unix:{project}/none.sock: no connection: no such file" in done.stderr


@contextlib.contextmanager
def tls_server(directory: Path) -> Iterator[tuple[int, Authority, Heard]]:
    """Yield the port of a server that wants a certificate of the same authority as its own."""
    authority, heard = Authority(directory), Heard()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(hosts=("127.0.0.1",)))
    context.load_verify_locations(authority.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    with serve_tls(heard, directory, context) as port:
        yield port, authority, heard


CERTIFICATES = {
    "with both": ('ca_file = "{ca}"\nclient_cert = "{cert}"', 0, ""),
    "with a client certificate alone": ('client_cert = "{cert}"', 0, ""),
    "without a client certificate": ('ca_file = "{ca}"', 4, "tls"),
    "with another authority": ('ca_file = "{other}"\nclient_cert = "{cert}"', 4, "certificate"),
    "insecure": ('insecure = true\nclient_cert = "{cert}"', 0, ""),
}


@pytest.mark.parametrize(("keys", "code", "error"), CERTIFICATES.values(), ids=CERTIFICATES)
def test_the_certificates_of_the_manifest_are_used(keys, code, error, toombos: Toombos, project: Path):
    with tls_server(project) as (port, authority, heard):
        other = Authority(project, "other").ca_file
        keys = keys.format(ca=authority.ca_file, cert=authority.issue("client"), other=other)
        (project / "toombos.toml").write_text(
            f'[services.app]\ncommand = ["app"]\nport = {port}\nscheme = "https"\n{keys}\n[load]\nservice = "app"\n'
        )
        got, data = load(toombos)
    assert got == code, data
    assert len(heard.heads) == (0 if error else 6)
    classes = {found["class"] for found in data.get("errors", ())}
    assert classes - {"reset"} == ({error} if error else set())  # a server's reset may overtake its alert


def test_a_certificate_file_that_cannot_be_used_is_a_mistake_of_the_configuration(toombos: Toombos, project: Path):
    with serve(Heard()) as port:
        (project / "toombos.toml").write_text(
            f'[services.app]\ncommand = ["app"]\nport = {port}\nscheme = "https"\nclient_cert = "none.pem"\n'
            '[load]\nservice = "app"\n'
        )
        done = toombos("load")
    assert done.returncode == 3
    assert "client_cert" in done.stderr
    assert "cannot be used: No such file or directory" in done.stderr


@pytest.mark.parametrize("speaks_first", [True, False])
def test_a_server_of_http2_alone_is_named_as_such(speaks_first):
    def speak_http2(connection) -> None:
        if speaks_first:
            connection.sendall(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        read_request(connection)
        connection.sendall(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")

    with serve(speak_http2) as port:
        plan = plan_for(port, requests=2, connections=1)
        report = report_of(plan, run_engine(plan))
    assert errors_of(report) == {("malformed", "wait"): 2}
    expected = "the server speaks HTTP/2; `http2 = true` in its table of the manifest asks for it"
    assert report.errors[0]["sample"] == expected
