"""Targets: every address must belong to this machine or be allowed explicitly."""

import errno
import os
import socket
import threading

import pytest

from tests.support.loading import errors_of, plan_for, report_of
from tests.support.servers import read_request, serve
from toombos_cli.base.errors import OperationError, RefusedError, UsageError
from toombos_cli.load.engine.fleet import run_engine
from toombos_cli.load.target_check import choose_target, connect_once, full_url, split_url
from toombos_cli.load.target_check import resolve as look_up
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes.connection import does_not_resolve

NAMES = {
    "local.test": ("127.0.0.1", "::1"),
    "public.test": ("93.184.216.34",),
    "rebinding.test": ("127.0.0.1", "93.184.216.34"),
    "private.test": ("10.0.0.7",),
}


def resolve(host: str, port: int) -> tuple[str, ...]:
    if host in NAMES:
        return NAMES[host]
    if host == "nowhere.test":
        raise does_not_resolve(host, "Name or service not known")
    return (host.partition("%")[0],)


LOCAL = ["127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]", "local.test"]
FOREIGN = ["93.184.216.34", "10.0.0.7", "192.168.1.1", "0.0.0.0", "169.254.1.1", "[fe80::1]", "[::ffff:10.0.0.7]",
           "public.test", "private.test", "rebinding.test"]  # fmt: skip


@pytest.mark.parametrize("host", LOCAL)
def test_this_machine_is_an_allowed_target(host):
    target, _ = choose_target(f"http://{host}:8000/x", resolve=resolve)
    assert target.port == 8000


@pytest.mark.parametrize("host", FOREIGN)
def test_any_other_address_is_refused_before_anything_is_sent(host):
    with pytest.raises(RefusedError, match="not this machine") as caught:
        choose_target(f"http://{host}:8000/x", resolve=resolve)
    assert "--allow-target" in (caught.value.problems[0].hint or "")


@pytest.mark.parametrize("allowed", ["private.test", "10.0.0.7"], ids=["allowed by name", "allowed by address"])
def test_another_host_can_be_allowed(allowed):
    target, _ = choose_target("http://private.test/x", allowed=(allowed,), resolve=resolve)
    assert target.address == "10.0.0.7"


def test_one_allowed_address_does_not_allow_the_others():
    with pytest.raises(RefusedError):
        choose_target("http://rebinding.test/", allowed=("10.0.0.7",), resolve=resolve)


def test_a_name_that_does_not_resolve_is_reported():
    with pytest.raises(OperationError, match=r"nowhere\.test does not resolve"):
        choose_target("http://nowhere.test/", resolve=resolve)


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "ftp://127.0.0.1/", "http://", "http://h:99999/", "http://[::1/"])
def test_a_target_that_is_not_an_http_url_is_refused(url):
    with pytest.raises(UsageError):
        split_url(url)


@pytest.mark.parametrize("url", ["http://h/a b", "http://h/a\r\nX: y", "http://h/\x00"])
def test_a_url_cannot_smuggle_lines_into_a_request(url):
    with pytest.raises(UsageError):
        split_url(url)


def test_credentials_in_a_url_are_refused_and_not_repeated():
    with pytest.raises(UsageError) as caught:
        split_url("http://user:secret@127.0.0.1/")
    assert "secret" not in f"{caught.value} {caught.value.problems}"


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://h", ("http", "h", 80, "/")),
        ("https://h/a", ("https", "h", 443, "/a")),
        ("http://h:81/ä?q=ü#part", ("http", "h", 81, "/%C3%A4?q=%C3%BC")),
        ("http://[::1]:5/a%20b?x=1&y=/", ("http", "::1", 5, "/a%20b?x=1&y=/")),
    ],
)
def test_a_url_is_split_into_its_parts(url, parts):
    assert split_url(url) == parts


def test_the_first_address_that_accepts_a_connection_is_used():
    with serve(lambda connection: None) as port:
        target, addresses = choose_target(f"http://local.test:{port}/", resolve=lambda *_: ("::1", "127.0.0.1"))
        assert connect_once(target, addresses, timeout_s=1, hint="").address == "127.0.0.1"


def test_a_redirect_elsewhere_is_counted_and_not_followed():
    elsewhere = threading.Event()
    with serve(lambda connection: elsewhere.set()) as other:
        head = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{other}/\r\nContent-Length: 0\r\n\r\n".encode()

        def redirect(connection: socket.socket) -> None:
            while read_request(connection):
                connection.sendall(head)

        with serve(redirect) as port:
            plan = plan_for(port, requests=5, connections=1)
            report = report_of(plan, run_engine(plan))
    assert report.status == {"302": 5}
    assert errors_of(report) == {}
    assert not elsewhere.is_set()


def test_localhost_is_both_loopback_addresses_as_in_health():
    assert look_up("localhost", 80) == ("127.0.0.1", "::1")
    with serve(lambda connection: None, host="::1") as port:
        target, addresses = choose_target(f"http://localhost:{port}/")
        assert connect_once(target, addresses, timeout_s=1, hint="").address == "::1"


@pytest.mark.parametrize("name", ["nowhere.invalid", "a..b", "x" * 64 + ".test"])
def test_a_name_without_an_address_is_reported_by_the_resolver_of_the_probes(name):
    with pytest.raises(OperationError, match="does not resolve"):
        choose_target(f"http://{name}/")


SERVICES = {
    "crm": Service(name="crm", command=("x",), host="127.0.0.1", port=8001),
    "shop": Service(name="shop", command=("x",), host="localhost", port=8443, scheme="https"),
}
TARGETS = [
    (":21210/", "http://localhost:21210/"),
    (":21210", "http://localhost:21210"),
    (":21210/a?b=c", "http://localhost:21210/a?b=c"),
    ("localhost:21210/", "http://localhost:21210/"),
    ("127.0.0.1:21210/x", "http://127.0.0.1:21210/x"),
    ("[::1]:80/x", "http://[::1]:80/x"),
    ("localhost/x", "http://localhost/x"),
    ("host.test:80", "http://host.test:80"),
    ("host.test/x", "http://host.test/x"),
    (":8443/x", "https://localhost:8443/x"),
    ("127.0.0.1:8443", "https://127.0.0.1:8443"),
    ("host.test:8443", "http://host.test:8443"),
    ("crm", "http://127.0.0.1:8001"),
    ("crm/a/b?c", "http://127.0.0.1:8001/a/b?c"),
    ("shop/", "https://localhost:8443/"),
    ("http://crm/", "http://crm/"),
    ("/path", "/path"),
    ("word", "word"),
    ("unix:/run/x", "unix:/run/x"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "url"), TARGETS, ids=[row[0] or "empty" for row in TARGETS])
def test_a_target_may_be_a_port_a_host_or_a_service(text, url):
    assert full_url(text, SERVICES) == url


@pytest.mark.parametrize(("address", "verified"), [("127.0.0.1", False), ("::1", False)])
def test_a_certificate_of_the_loopback_is_not_verified_as_in_health(address, verified):
    with serve(lambda connection: None, host=address) as port:
        target, addresses = choose_target(f"https://localhost:{port}/")
        assert target.verify_tls
        assert connect_once(target, addresses, timeout_s=1, hint="").verify_tls is verified


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENOBUFS], ids=lambda n: errno.errorcode[n])
def test_a_first_connection_that_this_machine_prevents_does_not_blame_the_server(monkeypatch, number):
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "create_connection", fail)
    target, addresses = choose_target("http://127.0.0.1:1/")
    with pytest.raises(OperationError) as caught:
        connect_once(target, addresses, timeout_s=1, hint="toombos start")
    assert "this machine" in (caught.value.problems[0].hint or "")
