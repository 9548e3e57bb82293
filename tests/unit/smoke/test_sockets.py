"""Watching a service's sockets while the smoke test runs."""

import os
import socket
import time

from toombos_cli.manifest.tables.service import Service
from toombos_cli.smoke.sockets import SocketWatch


def _service(port: int) -> Service:
    return Service(name="web", command=("unused",), port=port)


def test_a_connection_that_ended_before_the_check_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with SocketWatch({"web": _service(port)}) as watch:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as short:
                short.connect(("192.0.2.1", 9))  # a documentation address; connecting a datagram socket sends nothing
                time.sleep(0.5)  # how long the connection lasts, not a wait for a state
            assert watch.outside("web") == (f"192.0.2.1 port 9 (UDP, pid {os.getpid()})",)


def test_loopback_connections_are_not_beyond_this_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with SocketWatch({"web": _service(port)}) as watch, socket.create_connection(("127.0.0.1", port)):
            assert (watch.outside("web"), watch.unseen("web")) == ((), "")


def test_the_sockets_of_a_service_that_does_not_listen_cannot_be_seen() -> None:
    with socket.socket() as bound:  # and does not listen
        bound.bind(("127.0.0.1", 0))
        with SocketWatch({"web": _service(bound.getsockname()[1])}) as watch:
            assert (watch.outside("web"), watch.unseen("web")) == ((), "nothing listens")
