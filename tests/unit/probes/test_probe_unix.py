"""Probes over a Unix socket."""

import contextlib
import os
import socket

import pytest

from tests.support.servers import answer, hang, raw, serve, serve_unix
from toombos_cli.probes import Endpoint, Reason, probe_http


@pytest.mark.parametrize("directory", ["run", "d" * 120], ids=["a short path", "a path that connect() does not take"])
def test_a_server_on_a_unix_socket_responds_and_its_process_is_known(tmp_path, directory):
    path = tmp_path / directory / "app.sock"
    path.parent.mkdir()
    with serve_unix(answer(b"ok"), path):
        result = probe_http("http://localhost/health", endpoint=Endpoint(unix=path))
    assert (result.reason, result.body, result.detail) == (Reason.OK, b"ok", "")
    assert (result.family, result.address, result.peer_pid) == ("unix", None, os.getpid())


def test_a_probe_over_tcp_knows_no_peer():
    with serve(answer(b"ok")) as port:
        assert probe_http(f"http://127.0.0.1:{port}/").peer_pid is None


def _stale(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _in_a_file(path):
    path.parent.rmdir()
    path.parent.write_text("")


@contextlib.contextmanager
def _without_permission(path):
    path.parent.chmod(0)
    if os.geteuid() == 0:  # root may look into every directory
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        yield
    path.parent.chmod(0o700)


# how the path is prepared, reason, words of the detail
ABSENT = {
    "no file": (lambda path: None, Reason.REFUSED, "refused: nothing listens there"),
    "no directory": (lambda path: path.parent.rmdir(), Reason.REFUSED, "refused: nothing listens there"),
    "a file instead of the directory": (_in_a_file, Reason.REFUSED, "refused: nothing listens there"),
    "the socket of a server that has ended": (_stale, Reason.REFUSED, "refused: nothing listens there"),
    "a plain file": (lambda path: path.write_text(""), Reason.REFUSED, "refused: nothing listens there"),
    "a directory": (lambda path: path.mkdir(), Reason.REFUSED, "refused: nothing listens there"),
}


@pytest.mark.parametrize(("prepare", "reason", "words"), ABSENT.values(), ids=ABSENT)
def test_a_path_where_no_server_listens_is_refused(tmp_path, prepare, reason, words):
    path = tmp_path / "run" / "app.sock"
    path.parent.mkdir()
    prepare(path)
    result = probe_http("http://localhost/", endpoint=Endpoint(unix=path))
    assert result.reason is reason, result
    assert words in result.detail
    assert str(path) in result.detail


def test_a_socket_that_this_user_may_not_reach_is_no_failure_of_the_service(tmp_path):
    path = tmp_path / "run" / "app.sock"
    path.parent.mkdir()
    with serve_unix(answer(b"ok"), path), _without_permission(path):
        result = probe_http("http://localhost/", endpoint=Endpoint(unix=path))
    assert (result.reason, result.detail) == (Reason.ERROR, f"connection to unix:{path}: permission denied")


def test_a_name_that_does_not_resolve_is_no_obstacle_to_a_unix_socket(tmp_path):
    with serve_unix(answer(b"ok"), tmp_path / "s"):
        assert probe_http("http://app.invalid/", endpoint=Endpoint(unix=tmp_path / "s")).reason is Reason.OK


SILENT = {
    "no response": (hang, Reason.TIMEOUT, "connected, but no response within 0.3 s"),
    "closed": (raw(b""), Reason.RESET, "the connection was closed without a response"),
    "TLS": (raw(b"\x15\x03\x01\x00\x02\x02\x46"), Reason.TLS, "the port speaks TLS"),
}


@pytest.mark.parametrize(("handler", "reason", "words"), SILENT.values(), ids=SILENT)
def test_a_failure_on_a_unix_socket_has_the_same_reason_as_over_tcp(tmp_path, handler, reason, words):
    with serve_unix(handler, tmp_path / "s"):
        result = probe_http("http://localhost/", endpoint=Endpoint(unix=tmp_path / "s"), timeout_s=0.3)
    assert result.reason is reason, result
    assert words in result.detail
