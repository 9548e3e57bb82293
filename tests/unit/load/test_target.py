"""Targets: every address must belong to this machine or be allowed explicitly."""

import socket
import threading

import pytest

from tests.support.loading import errors_of, plan_for, report_of
from tests.support.servers import read_request, serve
from toombos_cli.base.errors import OperationError, RefusedError, UsageError
from toombos_cli.load.engine.fleet import run_engine
from toombos_cli.load.target_check import choose_target, connect_once, split_url

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
        raise socket.gaierror(-2, "Name or service not known")
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
