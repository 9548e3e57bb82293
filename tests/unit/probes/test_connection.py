"""What a socket error says about a service, and what only about this machine."""

import errno
import os
import socket

import pytest

from tests.support.ports import free_port
from tests.support.servers import answer, serve
from toombos_cli.base.errors import OperationError
from toombos_cli.probes import Reason, probe_http, probe_tcp
from toombos_cli.probes.connection import failure

ERRORS = {
    "refused": (errno.ECONNREFUSED, Reason.REFUSED),
    "no route to the host": (errno.EHOSTUNREACH, Reason.REFUSED),
    "no route to the network": (errno.ENETUNREACH, Reason.REFUSED),
    "the host is down": (errno.EHOSTDOWN, Reason.REFUSED),
    "the network is down": (errno.ENETDOWN, Reason.REFUSED),
    "reset": (errno.ECONNRESET, Reason.RESET),
    "aborted": (errno.ECONNABORTED, Reason.RESET),
    "a broken pipe": (errno.EPIPE, Reason.RESET),
    "timed out by the kernel": (errno.ETIMEDOUT, Reason.TIMEOUT),
    "permission denied": (errno.EACCES, Reason.ERROR),
    "not permitted, as a firewall of this machine says": (errno.EPERM, Reason.ERROR),
    "no such family of addresses": (errno.EAFNOSUPPORT, Reason.ERROR),
    "an invalid argument": (errno.EINVAL, Reason.ERROR),
    "an input/output error": (errno.EIO, Reason.ERROR),
    "an error without a number": (None, Reason.ERROR),
}


@pytest.mark.parametrize(("number", "reason"), ERRORS.values(), ids=ERRORS)
def test_only_a_known_error_says_something_about_the_service(number, reason):
    error = OSError("odd") if number is None else OSError(number, os.strerror(number))
    found = failure(error, "connection")
    assert found.reason is reason
    assert found.detail.startswith("connection")


LIMITS = {
    "EMFILE": "ulimit",
    "ENFILE": "ulimit",
    "ENOBUFS": "ulimit",
    "ENOMEM": "ulimit",
    "EADDRNOTAVAIL": "port_range",
}


@pytest.mark.parametrize(("name", "hint"), LIMITS.items(), ids=LIMITS)
def test_a_limit_of_this_machine_is_no_failure_of_the_service(name, hint):
    number = getattr(errno, name)
    with pytest.raises(OperationError, match=f"cannot probe: {os.strerror(number)}") as raised:
        failure(OSError(number, os.strerror(number)), "connection")
    assert hint in raised.value.problems[0].hint


def test_an_address_without_a_scope_is_no_failure_of_the_service():
    assert probe_tcp("fe80::1", 80, timeout_s=0.3).reason is Reason.ERROR


@pytest.fixture
def without_ipv6(monkeypatch):
    """Make connections to ::1 fail as on a machine without IPv6."""
    real = socket.socket.connect

    def connect(sock, address):
        if sock.family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        return real(sock, address)

    monkeypatch.setattr(socket.socket, "connect", connect)  # this machine may have IPv6


@pytest.mark.usefixtures("without_ipv6")
def test_a_closed_port_of_localhost_is_refused_on_a_machine_without_ipv6():
    port = free_port()
    assert probe_tcp("localhost", port).reason is Reason.REFUSED
    assert probe_http(f"http://localhost:{port}/").reason is Reason.REFUSED
    with pytest.raises(OperationError):
        probe_tcp("::1", port)


@pytest.mark.usefixtures("without_ipv6")
def test_a_listener_on_localhost_is_found_on_a_machine_without_ipv6():
    with serve(answer(b"ok")) as port:
        assert probe_http(f"http://localhost:{port}/").reason is Reason.OK


def test_a_lookup_for_which_this_machine_has_no_file_left_is_no_failure_of_the_service(monkeypatch):
    real = socket.getaddrinfo

    def getaddrinfo(host, *args, flags=0, **keys):
        if not flags & socket.AI_NUMERICHOST:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(host, *args, flags=flags, **keys)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)  # as EAI_SYSTEM of the real one
    with pytest.raises(OperationError, match="cannot probe: Too many open files"):
        probe_http("http://some.host:1/")
